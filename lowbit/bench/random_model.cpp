#include "lowbit/bench/random_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "lowbit/base/error.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/rng.h"
#include "lowbit/formats/layout.h"
#include "lowbit/machine/memory.h"

namespace lowbit::bench {
namespace {

/// Random canonical rows: any bits are codes of a mid-rise grid; of the three ternary levels the fourth pattern becomes
/// the middle one, which is then as frequent as both others together, about as in a trained model.
void random_codes(const Rng& rng, const Grid& grid, std::size_t row_bytes, std::size_t row, std::uint8_t* out) {
  const std::uint64_t first = row * ((row_bytes + 15) / 16);
  for (std::size_t at = 0; at < row_bytes; at += 16) {
    auto words = rng.block(first + at / 16);
    if (grid.levels == 3 && grid.plain())
      for (std::uint32_t& w : words) w &= ~(w & w << 1 & 0xAAAAAAAAu);  // 3 to 1
    if (grid.cells == Cells::e2m1)
      for (std::uint32_t& w : words) w &= ~(~(w << 1 | w << 2 | w << 3) & 0x88888888u);  // 1000 to 0000
    std::memcpy(out + at, words.data(), std::min<std::size_t>(16, row_bytes - at));
  }
}

/// The part of a 2:4 row behind its survivors: any two of four pairs.
void random_pairs(const Rng& rng, std::size_t groups, std::size_t row, std::uint8_t* out) {
  constexpr unsigned kTwoOfFour[] = {4, 8, 12, 9, 13, 14};
  for (std::size_t g = 0; g < groups; ++g) {
    const unsigned nibble = kTwoOfFour[rng.below((std::uint64_t{1} << 60) + row * groups + g, 6)];
    out[g / 2] = static_cast<std::uint8_t>(g % 2 == 0 ? nibble : out[g / 2] | nibble << 4);
  }
}

/// The h under which random levels have a variance of 1/k.
float scale_of(const Grid& grid, std::size_t k) {
  const Grid& side = grid.dense ? *grid.dense : grid;
  double squares = 0;
  if (side.cells == Cells::e2m1)
    for (const int o : kE2m1Magnitudes) squares += std::pow(o, 2) / 8;
  else
    for (int u = 0; u < side.levels; ++u) squares += std::pow(side.value(u), 2) / side.levels;
  const double mean = side.levels == 3 ? 0.5 : grid.dense ? squares / 2 : squares;
  return static_cast<float>(1 / std::sqrt(mean * static_cast<double>(k)));
}

struct RandomTensor {
  Buffer<std::uint8_t> codes;
  Buffer<float> scale, values;

  void make_codes(Executor& executor, const Rng& rng, const SideCoding& side, std::size_t n, std::size_t k) {
    const Grid& grid = *side.grid;
    const std::size_t row_bytes = stored_row_bytes(grid, k);
    codes.resize(n * row_bytes);
    scale.resize(n * static_cast<std::size_t>(side.slices(static_cast<std::int64_t>(k))));
    std::fill(scale.begin(), scale.end(), scale_of(grid, k));
    executor.parallel_for(n, [&](std::size_t row) {
      random_codes(rng, grid, row_bytes, row, codes.data() + row * row_bytes);
      if (grid.dense)
        random_pairs(rng, k / 8, row, codes.data() + row * row_bytes + canonical_row_bytes(*grid.dense, k / 2));
    });
  }
  void make_values(Executor& executor, const Rng& rng, std::size_t n, std::size_t k) {
    values.resize(n * k);
    const double width = std::sqrt(12.0 / static_cast<double>(k)) / 65536;  // uniform, of variance 1/k
    executor.parallel_for(n, [&](std::size_t row) {
      for (std::size_t i = 0; i < k; i += 8) {
        const auto words = rng.block(row * ((k + 7) / 8) + i / 8);
        for (std::size_t j = 0; j < std::min<std::size_t>(8, k - i); ++j) {
          const double word = (words[j / 2] >> (16 * (j % 2)) & 0xFFFF) - 32767.5;
          values[row * k + i + j] = static_cast<float>(word * width);
        }
      }
    });
  }
};

Rng rng_of(std::uint64_t seed, std::uint64_t id) { return Rng(seed, RandomUse::test, id); }

}  // namespace

void random_linear(Executor& executor, const model::TensorCoding& coding, std::size_t n, std::size_t k,
                   std::uint64_t seed, std::uint64_t id, nn::LinearWeights& weights) {
  RandomTensor tensor;
  if (coding.format.weight) {
    tensor.make_codes(executor, rng_of(seed, id), coding.weight, n, k);
    weights.set_coded(executor, coding, n, k, tensor.codes, tensor.scale);
  } else {
    tensor.make_values(executor, rng_of(seed, id), n, k);
    weights.set(executor, coding, n, k, tensor.values.data(), {});
  }
}

nn::LlamaWeights random_llama(Executor& executor, const model::Config& config, const Scheme& scheme,
                              std::size_t positions, std::uint64_t seed) {
  nn::LlamaWeights weights = nn::make_llama(config, scheme, positions);
  RandomTensor tensor;
  std::uint64_t id = 0;
  for (const model::TensorSpec& spec : model::tensors(config)) {
    const auto n = static_cast<std::size_t>(spec.rows), k = static_cast<std::size_t>(spec.columns);
    const model::TensorCoding coding = model::coding_of(spec, scheme);
    const Rng rng = rng_of(seed, id++);
    if (spec.role == model::TensorRole::norm) {
      const std::vector<float> ones(k, 1.0f);
      nn::set_tensor(executor, weights, spec, ones.data(), {});
    } else if (coding.format.weight) {
      tensor.make_codes(executor, rng, coding.weight, n, k);
      nn::set_coded_tensor(executor, weights, spec, tensor.codes, tensor.scale);
    } else {
      tensor.make_values(executor, rng, n, k);
      nn::set_tensor(executor, weights, spec, tensor.values.data(), {});
    }
  }
  return weights;
}

double bytes_needed(const model::Config& c, const Scheme& scheme) {
  const auto of = [](const Format& f) {
    return f.quantized() && f.activation ? 1.0 : f.kind == Format::Kind::bf16 ? 2.0 : 4.0;
  };
  const double outer = static_cast<double>(c.vocab * c.width);
  double blocks = 0;
  for (const model::TensorSpec& spec : model::tensors(c))
    if (spec.linear())
      blocks += static_cast<double>(spec.elements()) * of(scheme.word_of(spec.layer, model::kind_of(spec.role)));
  const double largest = std::max(outer, static_cast<double>(c.width * std::max(c.mlp, c.q_width())));
  // Head and embedding; while a tensor is made, its floats or its codes in two layouts.
  return blocks + 2 * outer * of(scheme.head) + 4 * largest;
}

void require_memory(double bytes, std::string_view what) {
  const auto available = static_cast<double>(available_memory());
  if (bytes > available)
    fail_input("{} takes about {}, but {} are available; choose a smaller shape, format, context or batch", what,
               human_bytes(bytes), human_bytes(available));
}

std::vector<std::int32_t> random_tokens(std::int64_t vocab, std::size_t count, std::uint64_t seed) {
  const Rng rng(seed);
  std::vector<std::int32_t> tokens(count);
  for (std::size_t i = 0; i < count; ++i)
    tokens[i] = static_cast<std::int32_t>(rng.below(i, static_cast<std::uint64_t>(vocab)));
  return tokens;
}

}  // namespace lowbit::bench
