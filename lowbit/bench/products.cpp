#include "lowbit/bench/products.h"

#include <algorithm>
#include <cmath>

#include "lowbit/base/rng.h"
#include "lowbit/bench/random_model.h"

namespace lowbit::bench {
namespace {

Buffer<float> random_rows(std::size_t n, std::uint64_t seed) {
  const Rng rng(seed);
  Buffer<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(rng.uniform(i % 65536) - 0.5);
  return x;
}

}  // namespace

MeasuredProduct measure_product(Executor& executor, CeilingMeter& meter, const Rates& rates, const nn::Product& product,
                                const model::TensorCoding& coding, int rounds, std::uint64_t seed) {
  MeasuredProduct result;
  result.choice = nn::choice_for_weights(rates, product);
  const nn::Kernel& kernel = *result.choice.kernel;
  const Work work = nn::work_of(kernel, product);
  result.bound = result.choice.estimate.bound();
  result.amount = result.bound == work.unit ? work.operations : work.bytes;

  // So many copies that they fill what a model of this size would fill, up to four times the third cache.
  const double bytes = static_cast<double>(product.n * product.k) * kernel.bits(product.format) / 8;
  const double enough = std::max(64e6, 4 * static_cast<double>(rates.caches.l3));
  const bool read_bound = result.bound >= Ceiling::l1;
  const double copies = read_bound ? std::ceil(std::min(work.resident, enough) / bytes) : 1;
  std::vector<nn::LinearWeights> weights(static_cast<std::size_t>(std::clamp(copies, 1.0, 4096.0)));
  for (std::size_t i = 0; i < weights.size(); ++i)
    random_linear(executor, coding, product.n, product.k, seed, i, weights[i]);

  const Buffer<float> x = random_rows(product.rows * product.k, seed);
  Buffer<float> y(product.rows * product.n);
  nn::LinearInput input;
  input.prepare(executor, coding, product.rows, product.k, x.data(), product.k, false);
  std::size_t next = 0;
  result.beside = measure_beside(executor, meter, result.bound, rounds, result.amount, [&] {
    nn::linear(executor, input, weights[next], y.data(), product.n);
    next = (next + 1) % weights.size();
  });
  return result;
}

}  // namespace lowbit::bench
