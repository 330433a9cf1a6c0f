#include <memory>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/words.h"
#include "lowbit/bench/ceiling_cache.h"
#include "lowbit/cli/logits_flags.h"
#include "lowbit/files/npy.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/machine/isa.h"
#include "lowbit/nn/load.h"
#include "lowbit/run/engine.h"

namespace lowbit::cli {

void add_logits(CLI::App& verb) {
  auto f = std::make_shared<LogitsFlags>();
  declare_logits(verb, *f);
  verb.callback([f] {
    if (f->engine != "run") fail_usage("unknown --engine '{}'; choose run or train", f->engine);
    ThreadPool pool(apply_common(f->common));
    const model::ModelFolder folder(files::resolve_model(f->model));
    bench::use_kept_rates(pool.threads());
    nn::force_kernel(f->kernel, folder.scheme().format, folder.scheme().scale_group != 0);
    const std::vector<std::int32_t> ids = read_ids(*f, folder.config().vocab);
    const std::size_t window = window_length(*f, ids.size(), folder.config().positions);
    const nn::LlamaWeights weights = nn::load_llama(pool, folder, window);
    const auto chunk = std::min(static_cast<std::size_t>(f->chunk), window);
    run::Engine engine(pool, weights, chunk);
    run::Sequence sequence(weights, window);
    const auto vocab = static_cast<std::size_t>(weights.config.vocab);
    std::vector<float> logits(chunk * vocab);
    files::NpyWriter out(f->out, vocab);
    Progress progress("logits", "tok", static_cast<double>(ids.size()));
    for (std::size_t at = 0; at < ids.size();) {
      check_interrupt("stopped; nothing was written");
      if (at % window == 0) sequence.cut(0);
      const std::size_t n = std::min(chunk, window - at % window);
      engine.feed_all(sequence, std::span(ids).subspan(at, n), logits.data());
      out.append(std::span(logits).first(n * vocab));
      progress.update(static_cast<double>(at += n));
    }
    out.finish();
    progress.finish();
    fmt::print(stderr, "{}: float32 [{}, {}], engine run, {}, chunks of {}, {}\n", f->out.string(), ids.size(), vocab,
               isa_name(active_isa()), chunk, counted(pool.threads(), "thread"));
  });
}

}  // namespace lowbit::cli
