#include <memory>

#include "lowbit/autograd/llama.h"
#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/words.h"
#include "lowbit/cli/logits_flags.h"
#include "lowbit/files/npy.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/machine/isa.h"
#include "lowbit/model/model_folder.h"
#include "lowbit/nn/kernel_choice.h"
#include "lowbit/train/checkpoint.h"

namespace lowbit::cli {

void add_train_logits(CLI::App& verb) {
  auto f = std::make_shared<LogitsFlags>();
  declare_logits(verb, *f);
  verb.callback([f] {
    if (f->engine != "train") fail_usage("unknown --engine '{}'; choose run or train", f->engine);
    const std::filesystem::path path = files::resolve_model(f->model);
    const int threads = apply_common(f->common);
    const model::ModelFolder folder(path);
    nn::force_kernel(f->kernel, folder.scheme().format, folder.scheme().scale_group != 0);
    const std::vector<std::int32_t> ids = read_ids(*f, folder.config().vocab);
    const std::size_t window = window_length(*f, ids.size(), folder.config().positions);
    autograd::TorchExecutor executor(threads);
    autograd::Llama llama(executor, folder.config(), folder.scheme(), kernels::Precision::bf16, window);
    train::load_weights(path, llama);
    llama.refresh();
    const auto vocab = static_cast<std::size_t>(folder.config().vocab);
    std::vector<float> logits(window * vocab);
    files::NpyWriter out(f->out, vocab);
    for (std::size_t at = 0; at < ids.size(); at += window) {
      check_interrupt("stopped; nothing was written");
      llama.logits(std::span(ids).subspan(at, window), window, logits.data());
      out.append(logits);
    }
    out.finish();
    fmt::print(stderr, "{}: float32 [{}, {}], engine train, {}, {}\n", f->out.string(), ids.size(), vocab,
               isa_name(active_isa()), counted(threads, "thread"));
  });
}

}  // namespace lowbit::cli
