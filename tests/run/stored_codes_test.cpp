#include <gtest/gtest.h>

#include <vector>

#include "lowbit/base/rng.h"
#include "lowbit/formats/layout.h"
#include "lowbit/kernels/code_rows.h"
#include "lowbit/nn/embedding.h"
#include "lowbit/nn/linear.h"

// What is loaded from stored codes computes as what was coded here, at the size of the codes.
namespace lowbit::nn {
namespace {

constexpr std::size_t kN = 150, kK = 96;

struct Stored {
  model::TensorCoding coding;
  std::vector<float> weights;
  std::vector<std::uint8_t> canonical;
  Buffer<float> scale;
};

/// A format's word, or gaussian-wXaY.
model::TensorCoding coding_of(std::string_view word) {
  Scheme scheme;
  const bool gaussian = word.starts_with("gaussian-");
  if (gaussian) scheme.grid = GridShape::gaussian;
  scheme.format = parse_format(gaussian ? word.substr(9) : word);
  const Format format = scheme.blocks();
  return {format, 32, 32, scheme.block_side(*format.weight),
          format.activation ? scheme.block_side(*format.activation) : SideCoding{}};
}

Stored stored(Executor& executor, std::string_view format, std::uint64_t seed) {
  Stored s{coding_of(format), std::vector<float>(kN * kK), {}, Buffer<float>(kN)};
  const Rng rng(seed);
  for (std::size_t i = 0; i < s.weights.size(); ++i) s.weights[i] = static_cast<float>(rng.normal(i));
  Buffer<std::uint8_t> codes(kN * kernels::code_stride(kK));
  Buffer<std::int32_t> sum(kN);
  kernels::code_rows(executor, weight_coding(s.coding), kN, kK, s.weights.data(), kK,
                     {codes.data(), s.scale.data(), sum.data(), nullptr});
  const Grid& grid = *s.coding.format.weight;
  const std::size_t bytes = stored_row_bytes(grid, kK);
  s.canonical.resize(kN * bytes);
  for (std::size_t row = 0; row < kN; ++row)
    pack_stored(grid, {codes.data() + row * kernels::code_stride(kK), kK},
                   {s.canonical.data() + row * bytes, bytes});
  return s;
}

TEST(StoredEmbedding, GivesTheBitsOfTheOneCodedHereAtTheSizeOfItsCodes) {
  ThreadPool pool(2);
  for (const char* format : {"w8a8", "w4a8", "w5a8", "w1.58a8"}) {
    const Stored s = stored(pool, format, 3);
    Embedding coded, loaded;
    coded.set(pool, s.coding, kN, kK, s.weights.data(), false);
    loaded.set_coded(pool, s.coding, kN, kK, s.canonical, s.scale);
    const std::vector<std::int32_t> ids = {149, 0, 7, 7, 64, 63};
    std::vector<float> a(ids.size() * kK), b(a.size());
    coded.look_up(pool, ids.size(), ids.data(), a.data());
    for (const std::size_t rows : {ids.size(), std::size_t{1}, ids.size()}) {
      loaded.look_up(pool, rows, ids.data(), b.data());
      EXPECT_TRUE(std::equal(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(rows * kK), a.begin())) << format;
    }
    EXPECT_EQ(loaded.bytes(), s.canonical.size() + 4 * kN) << format;
  }
}

TEST(StoredLinear, SeveralLayersAtOnceGiveTheBitsOfEachCodedHere) {
  ThreadPool pool(2);
  for (const char* format : {"w8a8", "w4a8", "w4a4", "w3a8", "w2a2", "w1a1", "w1.58a8", "w4a16", "fp4", "w2afp4",
                             "w4a4+2:4", "w1a1+2:4", "w7a8+2:4", "w3a16+2:4", "gaussian-w4a4", "gaussian-w2a16"}) {
    std::vector<LinearWeights> coded(3), loaded(3);
    for (std::size_t i = 0; i < 3; ++i) {
      const Stored s = stored(pool, format, 10 + i);
      coded[i].set(pool, s.coding, kN, kK, s.weights.data(), {true, true});
      loaded[i].set_coded(pool, s.coding, kN, kK, s.canonical, s.scale);
    }
    for (const std::size_t rows : {1, 5, 40}) {
      const Rng rng(rows);
      std::vector<float> x(rows * kK);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(rng.normal(i));
      LinearInput input;
      input.prepare(pool, coded[0].coding(), rows, kK, x.data(), kK, false);
      std::vector<std::vector<float>> y(3, std::vector<float>(rows * kN)), together = y;
      std::vector<LinearOutput> outputs;
      for (std::size_t i = 0; i < 3; ++i) {
        linear(pool, input, coded[i], y[i].data(), kN);
        outputs.push_back({&loaded[i], together[i].data(), kN});
      }
      linear(pool, input, outputs);
      EXPECT_EQ(y, together) << format << ", rows " << rows;
    }
  }
}

}  // namespace
}  // namespace lowbit::nn
