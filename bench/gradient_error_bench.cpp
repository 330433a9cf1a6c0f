// How far the gradients of one batch lie from those of float32 backward products (docs/lab/results.md): bfloat16's, one
// draw of int8's, and the mean of DRAWS draws, which tells noise from bias. Relative norms by kind of tensor. Usage:
// gradient_error_bench CHECKPOINT BATCHES.u16 FIRST-WINDOW WINDOWS LENGTH [DRAWS [THREADS]]
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lowbit/autograd/llama.h"
#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/error.h"
#include "lowbit/model/model_folder.h"
#include "lowbit/train/checkpoint.h"
#include "lowbit/train/feed.h"

namespace {

using namespace lowbit;

struct Batch {
  std::size_t length;
  std::vector<std::int32_t> ids, targets;
};

/// All gradients of a model whose backward products have this precision.
class Gradients {
 public:
  Gradients(Executor& executor, const model::ModelFolder& folder, const std::string& path, kernels::Precision precision,
            const Batch& batch)
      : llama(executor, folder.config(), folder.scheme(), precision, batch.length), batch_(batch) {
    train::load_weights(path, llama);
    llama.refresh();
  }
  std::vector<std::vector<float>> of_draw(std::uint64_t step) {
    llama.zero_gradients();
    llama.set_draws({7, step, 0, 0});
    std::vector<double> losses(batch_.ids.size());
    llama.accumulate(batch_.ids, batch_.targets, batch_.length, 1.0f / static_cast<float>(batch_.ids.size()), losses);
    std::vector<std::vector<float>> all;
    for (const autograd::Parameter& p : llama.parameters())
      all.emplace_back(p.grad.const_data_ptr<float>(), p.grad.const_data_ptr<float>() + p.grad.numel());
    return all;
  }
  autograd::Llama llama;

 private:
  const Batch& batch_;
};

struct Sums {
  double exact = 0, bf16 = 0, one = 0, mean = 0;
};

int run(int argc, char** argv) {
  const auto number = [&](int i, std::size_t otherwise) {
    return i < argc ? std::strtoul(argv[i], nullptr, 10) : otherwise;
  };
  const std::size_t first = number(3, 0), windows = number(4, 0), draws = number(6, 16);
  Batch batch{number(5, 0), {}, {}};
  if (argc < 6 || windows == 0 || batch.length == 0 || draws == 0) {
    fmt::print(stderr,
               "usage: gradient_error_bench CHECKPOINT BATCHES.u16 FIRST-WINDOW WINDOWS LENGTH [DRAWS [THREADS]]\n");
    return 2;
  }
  autograd::TorchExecutor executor(static_cast<int>(number(7, 2)));
  const std::string path = argv[1];
  const model::ModelFolder folder(path);
  const auto feed = train::batches_feed(argv[2], static_cast<std::int64_t>(batch.length), folder.config().vocab);
  batch.ids.resize(windows * batch.length);
  batch.targets.resize(windows * batch.length);
  for (std::size_t i = 0; i < windows; ++i)
    feed->window(first + i, std::span(batch.ids).subspan(i * batch.length, batch.length),
                 std::span(batch.targets).subspan(i * batch.length, batch.length));

  using kernels::Precision;
  Gradients of_f32(executor, folder, path, Precision::f32, batch),
      of_bf16(executor, folder, path, Precision::bf16, batch), of_int8(executor, folder, path, Precision::int8, batch);
  const auto exact = of_f32.of_draw(0), rounded = of_bf16.of_draw(0), one = of_int8.of_draw(0);
  std::vector<std::vector<double>> mean;
  for (const auto& g : one) mean.emplace_back(g.begin(), g.end());
  for (std::size_t d = 1; d < draws; ++d) {
    const auto g = of_int8.of_draw(d);
    for (std::size_t t = 0; t < g.size(); ++t)
      for (std::size_t i = 0; i < g[t].size(); ++i) mean[t][i] += static_cast<double>(g[t][i]);
  }

  std::map<std::string, Sums> kinds;
  std::size_t t = 0;
  for (const autograd::Parameter& p : of_f32.llama.parameters()) {
    std::string name = p.spec.name;
    if (name.ends_with(".weight")) name.resize(name.size() - 7);
    name.erase(0, name.rfind('.') + 1);
    for (Sums* s : {&kinds[name], &kinds["~ all"]})
      for (std::size_t i = 0; i < exact[t].size(); ++i) {
        const auto x = static_cast<double>(exact[t][i]);
        const auto square = [&](double y) { return (y - x) * (y - x); };
        s->exact += x * x;
        s->bf16 += square(static_cast<double>(rounded[t][i]));
        s->one += square(static_cast<double>(one[t][i]));
        s->mean += square(mean[t][i] / static_cast<double>(draws));
      }
    ++t;
  }
  fmt::print("{:<26} {:>8} {:>8} {:>8}\n", "off float32, of its norm", "bf16", "int8", fmt::format("mean {}", draws));
  for (const auto& [name, s] : kinds)
    fmt::print("{:<26} {:8.5f} {:8.5f} {:8.5f}\n", name, std::sqrt(s.bf16 / s.exact), std::sqrt(s.one / s.exact),
               std::sqrt(s.mean / s.exact));
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  return run(argc, argv);
} catch (const std::exception& e) {
  fmt::print(stderr, "gradient_error_bench: {}\n", e.what());
  return 2;
}
