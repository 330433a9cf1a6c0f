#include <gtest/gtest.h>

#include <bit>
#include <functional>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/rng.h"
#include "lowbit/formats/layout.h"
#include "lowbit/kernels/reference.h"
#include "lowbit/machine/isa.h"
#include "lowbit/model/config.h"
#include "lowbit/nn/linear.h"

// Weights with several scales a row, against the definition: a row is cut, each slice is coded as a row of its own, and
// the slices' products are added in their order.
namespace lowbit::nn {
namespace {

namespace reference = kernels::reference;

constexpr std::size_t kN = 37, kK = 384;

struct Case {
  std::string format, transform = "hadamard", scale = "rms", grid = "uniform", sparse_scale = "dense";
  std::int64_t group = 128;
};

Scheme scheme_of(const Case& c) {
  Scheme scheme = default_scheme(parse_format(c.format));
  scheme.transform = parse_transform(c.transform);
  scheme.scale = parse_scale_rule(c.scale);
  if (scheme.scale == ScaleRule::absmax) scheme.estimator = Estimator::ste;
  scheme.grid = parse_grid_shape(c.grid);
  scheme.sparse_scale = parse_sparse_scale(c.sparse_scale);
  scheme.scale_group = c.group;
  scheme.check();
  return scheme;
}

const std::vector<Case> kCases{{"w1a1"},
                               {"w2a2"},
                               {"w1.58a8", "none", "rms", "uniform", "dense", 64},
                               {"w2a2", "none", "mse", "uniform", "dense", 64},
                               {"w4a8", "hadamard", "absmax"},
                               {"w8a8", "none", "rms", "uniform", "dense", 64},
                               {"fp4", "none", "rms", "uniform", "dense", 64},
                               {"w2a4+2:4", "none", "mse", "uniform", "refit", 64},
                               {"w3a16", "hadamard-weights"},
                               {"w2a16", "hadamard"},
                               {"w2a3", "none", "rms", "gaussian", "dense", 64}};

std::string name_of(const Case& c) { return c.format + " " + c.transform + " " + c.scale + " " + c.grid; }

std::vector<float> normal(std::size_t n, std::uint64_t seed) {
  const Rng rng(seed);
  std::vector<float> x(n);
  // Columns of unequal size, so that the slices' scales differ.
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(rng.normal(i) * (1 + static_cast<double>(i % kK / 64)));
  return x;
}

bool same(float a, float b) { return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b); }

/// One slice of a row, rotated and coded by the definition.
struct Slice {
  std::vector<float> rotated;
  std::vector<std::uint8_t> codes;
  reference::CodedRow<float> coded;
};
Slice code(const float* x, std::size_t k, const SideCoding& side, int group) {
  Slice s{{x, x + k}, std::vector<std::uint8_t>(k), {}};
  reference::hadamard_row<float>(s.rotated, group);
  s.coded = reference::code_row<float>(s.rotated, side, s.codes.data());
  return s;
}

struct Layer {
  model::TensorCoding coding;
  std::vector<float> values = normal(kN * kK, 3);
  std::size_t slice, slices;
  std::vector<Slice> rows;  ///< [kN, slices]

  explicit Layer(const Case& c)
      : coding(model::coding_of({"", model::TensorRole::q, 0, kN, kK}, scheme_of(c))),
        slice(static_cast<std::size_t>(c.group)),
        slices(kK / slice) {
    for (std::size_t i = 0; i < kN * slices; ++i)
      rows.push_back(code(values.data() + i * slice, slice, coding.weight, coding.group));
  }
  /// What the layer gives for an input row, by the definition; or with the slices added from the last to the first.
  std::vector<float> output(const float* x, bool turned = false) const {
    const Format& format = coding.format;
    const Slice input = format.activation ? code(x, kK, coding.input, coding.input_group) : Slice{{x, x + kK}, {}, {}};
    std::vector<float> values_read = input.rotated;
    if (!format.activation) reference::hadamard_row<float>(values_read, coding.input_group);
    if (format.decoded())
      for (std::size_t i = 0; i < kK; ++i)
        values_read[i] = static_cast<float>(format.activation->value(input.codes[i])) * input.coded.scale;
    std::vector<float> y(kN);
    for (std::size_t n = 0; n < kN; ++n)
      y[n] = reference::sum_of_slices<float>(slices, [&](std::size_t number) {
        const std::size_t s = turned ? slices - 1 - number : number;
        const Slice& w = rows[n * slices + s];
        if (format.integer())
          return reference::code_product<float>({input.codes.data() + s * slice, slice}, *format.activation,
                                                input.coded.scale, w.codes, *format.weight, w.coded.scale);
        return reference::wide_product<float>({values_read.data() + s * slice, slice}, w.codes, *format.weight,
                                              w.coded.scale);
      });
    return y;
  }
};

/// Puts back what was in use.
struct RestoreIsa {
  Isa before = active_isa();
  ~RestoreIsa() { force_isa(before); }
};

std::vector<Isa> supported_isas() {
  std::vector<Isa> list;
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512})
    if (isa_supported(isa)) list.push_back(isa);
  return list;
}

TEST(ScaleGroup, CodesScalesAndMasksAreThoseOfSlicesAsRowsOfTheirOwnOnEveryInstructionSet) {
  const RestoreIsa restore;
  SerialExecutor serial;
  for (const Case& c : kCases) {
    const Layer layer(c);
    for (const Isa isa : supported_isas()) {
      force_isa(isa);
      LinearWeights weights;
      weights.set(serial, layer.coding, kN, kK, layer.values.data(), {true, true});
      ASSERT_EQ(weights.slices(), layer.slices);
      for (std::size_t i = 0; i < layer.rows.size(); ++i) {
        const Slice& expected = layer.rows[i];
        ASSERT_TRUE(same(weights.scale()[i], expected.coded.scale)) << name_of(c) << isa_name(isa) << " slice " << i;
        for (std::size_t j = 0; j < layer.slice; ++j) {
          const std::size_t at = i * layer.slice + j;  // of the whole matrix
          ASSERT_EQ(weights.coded().codes[at], expected.codes[j]) << name_of(c) << isa_name(isa) << " at " << at;
          const bool trusted = reference::trusted(expected.rotated[j], expected.coded,
                                                  reference::is_pruned(*layer.coding.format.weight, expected.codes[j]));
          ASSERT_EQ(weights.coded().mask[at / 64] >> at % 64 & 1, trusted)
              << name_of(c) << isa_name(isa) << " at " << at;
        }
      }
    }
  }
}

TEST(ScaleGroup, ProductsAreTheSlicesProductsAddedInTheirOrderOnEveryInstructionSetFromFloatsAndFromStoredCodes) {
  const RestoreIsa restore;
  for (const Case& c : kCases) {
    const Layer layer(c);
    const Grid& grid = *layer.coding.format.weight;
    const std::size_t bytes = stored_row_bytes(grid, kK);
    std::vector<std::uint8_t> canonical(kN * bytes);
    std::vector<float> scale;
    for (const Slice& slice : layer.rows) scale.push_back(slice.coded.scale);
    for (std::size_t n = 0; n < kN; ++n) {
      std::vector<std::uint8_t> row;
      for (std::size_t s = 0; s < layer.slices; ++s) {
        const auto& codes = layer.rows[n * layer.slices + s].codes;
        row.insert(row.end(), codes.begin(), codes.end());
      }
      pack_stored(grid, row, {canonical.data() + n * bytes, bytes});
    }
    for (const std::size_t m : {std::size_t{1}, std::size_t{7}, std::size_t{530}}) {
      const std::vector<float> x = normal(m * kK, 5);
      std::vector<float> expected;
      for (std::size_t i = 0; i < m; ++i) {
        const std::vector<float> row = layer.output(x.data() + i * kK);
        expected.insert(expected.end(), row.begin(), row.end());
      }
      for (const Isa isa : supported_isas())
        for (const int threads : {1, 2}) {
          force_isa(isa);
          ThreadPool pool(threads);
          LinearWeights coded, loaded;
          coded.set(pool, layer.coding, kN, kK, layer.values.data(), {});
          loaded.set_coded(pool, layer.coding, kN, kK, canonical, scale);
          LinearInput input;
          input.prepare(pool, layer.coding, m, kK, x.data(), kK, false);
          for (const LinearWeights* weights : {&coded, &loaded}) {
            constexpr std::size_t kStride = kN + 2;
            std::vector<float> y(m * kStride, 7.0f);
            linear(pool, input, *weights, y.data(), kStride);
            for (std::size_t i = 0; i < m; ++i) {
              for (std::size_t n = 0; n < kN; ++n)
                ASSERT_TRUE(same(y[i * kStride + n], expected[i * kN + n]))
                    << name_of(c) << " " << isa_name(isa) << " m " << m << " at " << i << ", " << n
                    << (weights == &coded ? "" : " stored");
              ASSERT_TRUE(y[i * kStride + kN] == 7 && y[i * kStride + kN + 1] == 7) << "wrote beside its columns";
            }
          }
        }
    }
  }
}

// A sum in another order gives other bits: otherwise the test above could not tell.
TEST(ScaleGroup, TheOrderOfTheSlicesShows) {
  const Layer layer({"w2a2"});
  const std::vector<float> x = normal(kK, 5), y = layer.output(x.data()), turned = layer.output(x.data(), true);
  int differing = 0;
  for (std::size_t n = 0; n < kN; ++n) differing += !same(y[n], turned[n]);
  EXPECT_GT(differing, 0);
}

TEST(ScaleGroup, OneGroupForTheWholeRowIsTheRowsScaleInEveryBit) {
  ThreadPool pool(2);
  Case whole{"w2a2"}, group{"w2a2"};
  whole.group = 0;
  const auto output = [&](const Case& c) {
    const std::vector<float> w = normal(kN * 128, 3), x = normal(5 * 128, 5);
    const model::TensorCoding coding = model::coding_of({"", model::TensorRole::q, 0, kN, 128}, scheme_of(c));
    LinearWeights weights;
    weights.set(pool, coding, kN, 128, w.data(), {});
    EXPECT_EQ(weights.slices(), 1u);
    LinearInput input;
    input.prepare(pool, coding, 5, 128, x.data(), 128, false);
    std::vector<float> y(5 * kN);
    linear(pool, input, weights, y.data(), kN);
    return y;
  };
  EXPECT_EQ(output(whole), output(group));
}

std::string refusal(const std::function<void()>& what) {
  try {
    what();
  } catch (const Error& error) {
    return error.what();
  }
  return "not refused";
}

TEST(ScaleGroup, RowsThatItDoesNotDivideAndRotationsThatItCutsAreRefusedByTheLayersName) {
  model::Config config;
  config.layers = 2;
  config.width = 128, config.heads = config.kv_heads = 2, config.head_dim = 64, config.mlp = 192, config.vocab = 100;
  config.positions = 64;
  const auto check = [&](const Case& c, const char* layers = "") {
    return refusal([&] {
      Scheme scheme = scheme_of(c);
      scheme.layer_formats = parse_layer_formats(layers);
      config.check(scheme);
    });
  };
  EXPECT_EQ(check({"w2a2", "hadamard"}), "--scale-group 128 does not divide the rows of blocks.0.down, of 192 weights");
  EXPECT_EQ(check({"w2a2", "none", "rms", "uniform", "dense", 256}),
            "--scale-group 256 does not divide the rows of blocks.0.q, of 128 weights");
  EXPECT_EQ(check({"w2a2", "hadamard", "rms", "uniform", "dense", 64}),
            "--scale-group 64 cuts the Hadamard groups of blocks.0.q, of 128 weights: choose 128 or more, or "
            "--transform none");
  EXPECT_EQ(check({"w2a2", "none", "rms", "uniform", "dense", 64}), "not refused");
  EXPECT_EQ(check({"w2a2", "hadamard"}, "down=bf16"), "not refused") << "what is not coded has no scales";
}

TEST(ScaleGroup, KernelsThatReadWholeRowsAreRefusedWithThoseThatCan) {
  EXPECT_EQ(refusal([] { force_kernel("packed", parse_format("w2a2"), true); }),
            "the kernel 'packed' cannot multiply w2a2 with several scales a row; these can: codes");
  EXPECT_EQ(refusal([] { force_kernel("planes", parse_format("w1a1"), true); }),
            "the kernel 'planes' cannot multiply w1a1 with several scales a row; these can: codes");
  EXPECT_EQ(refusal([] { force_kernel("codes", parse_format("w1a1"), true); }), "not refused");
  force_kernel("", {});
  for (const Purpose purpose : {Purpose::run, Purpose::train})
    EXPECT_EQ(kernel_for_weights(parse_format("w1a1"), 2048, 2048, purpose, 1, true).id, KernelId::codes);
}

}  // namespace
}  // namespace lowbit::nn
