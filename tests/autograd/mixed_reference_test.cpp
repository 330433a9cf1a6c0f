#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "golden/reference_model.h"
#include "lowbit/autograd/llama.h"
#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/rng.h"
#include "lowbit/files/safetensors.h"
#include "support/data.h"

// Formats by layer: the training engine against whole matrices out of the reference templates.
namespace lowbit {
namespace {

constexpr std::size_t kSequences = 2, kLength = 24;

model::Config config() {
  model::Config c;
  c.layers = 3;
  c.width = 64;
  c.heads = c.kv_heads = 2;
  c.head_dim = 32;
  c.mlp = 96;
  c.vocab = 67;
  c.positions = kLength;
  c.norm_eps = 1e-5;
  return c;
}

/// Weights at which every part of the forward pass matters, in the engine and in a file for the reference.
void make_weights(autograd::Llama& llama, const std::filesystem::path& file) {
  llama.initialize(4);
  files::SafetensorsWriter writer;
  for (autograd::Parameter& p : llama.parameters()) {
    float* values = p.value.mutable_data_ptr<float>();
    const auto n = static_cast<std::size_t>(p.value.numel());
    const Rng rng(9, RandomUse::test, p.number);
    for (std::size_t i = 0; i < n; ++i)
      values[i] = p.spec.role == model::TensorRole::norm ? static_cast<float>(1 + 0.2 * rng.normal(i)) : values[i] * 4;
    writer.add(p.spec.name, files::Dtype::f32, p.spec.shape(), std::span<const float>(values, n));
  }
  writer.write(file);
}

double distance(const std::vector<float>& a, std::span<const float> b) {
  double difference = 0, squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    squares += std::pow(static_cast<double>(a[i]), 2);
  }
  return std::sqrt(difference / squares);
}

struct Mixture {
  const char *name, *format, *layers;
  GridShape grid;
};
void PrintTo(const Mixture& mixture, std::ostream* out) { *out << mixture.name; }
struct MixedFormats : testing::TestWithParam<Mixture> {};

TEST_P(MixedFormats, LogitsAreTheReferencesBitByBitAndGradientsItsOwnToRounding) {
  Scheme scheme = default_scheme(parse_format(GetParam().format));
  scheme.layer_formats = parse_layer_formats(GetParam().layers);
  scheme.grid = GetParam().grid;
  scheme.head = {Format::Kind::f32};
  scheme.check();
  const test::TemporaryFolder folder;
  autograd::TorchExecutor executor(2);
  autograd::Llama llama(executor, config(), scheme, kernels::Precision::f32, kLength);
  make_weights(llama, folder / "weights.safetensors");
  llama.refresh();

  const Rng rng(23);
  std::vector<std::uint16_t> windows(kSequences * (kLength + 1));
  for (std::size_t i = 0; i < windows.size(); ++i) windows[i] = static_cast<std::uint16_t>(rng.below(i, 67));
  const golden::Batch batch{kSequences, kLength, windows};
  std::vector<std::int32_t> ids, targets;
  for (std::size_t i = 0; i < batch.tokens(); ++i) {
    ids.push_back(static_cast<std::int32_t>(batch.input(i)));
    targets.push_back(static_cast<std::int32_t>(batch.target(i)));
  }
  const files::SafetensorsFile weights(folder / "weights.safetensors");
  const auto reference_of = [&](const Scheme& with) {
    return golden::ReferenceModel<float>(weights, with, {}, {3, 64, 2, 32, 96, 67, 1e-5, 10000});
  };
  golden::ReferenceModel<float> reference = reference_of(scheme);
  const double reference_loss = reference.forward(batch);
  reference.backward();

  std::vector<float> logits(batch.tokens() * 67);
  llama.logits(ids, kLength, logits.data());
  std::size_t different = 0;
  for (std::size_t i = 0; i < batch.tokens(); ++i)
    for (std::size_t j = 0; j < 67; ++j)
      different +=
          std::bit_cast<std::uint32_t>(reference.logits(i)[j]) != std::bit_cast<std::uint32_t>(logits[i * 67 + j]);
  EXPECT_EQ(different, 0u);

  std::vector<double> losses(ids.size());
  llama.zero_gradients();
  llama.accumulate(ids, targets, kLength, 1.0f / static_cast<float>(ids.size()), losses);
  double loss = 0;
  for (const double l : losses) loss += l / static_cast<double>(losses.size());
  EXPECT_NEAR(loss, reference_loss, 1e-6);
  // Sums in another order: some hundred float32 roundings.
  for (autograd::Parameter& p : llama.parameters())
    EXPECT_LT(distance(reference.parameter(p.spec.name).gradient,
                       {p.grad.const_data_ptr<float>(), static_cast<std::size_t>(p.grad.numel())}),
              2e-6)
        << p.spec.name;

  // One layer in a neighbouring format shows.
  Scheme other = scheme;
  other.layer_formats.push_back({"blocks.2.down", parse_format("w3a4")});
  golden::ReferenceModel<float> wrong = reference_of(other);
  EXPECT_NE(wrong.forward(batch), reference_loss);
}

INSTANTIATE_TEST_SUITE_P(Mixtures, MixedFormats,
                         testing::Values(Mixture{"Integers", "w2a2",
                                                 "down=w2a3,k=w4a2,blocks.1.*=w4a4,blocks.1.v=w1a4,blocks.2.o=w3a16,"
                                                 "blocks.2.down=fp4,up=w3a2,blocks.1.up=w8a4",
                                                 GridShape::uniform},
                                         // Coded and float weights read one input.
                                         Mixture{"Tables", "w16a3",
                                                 "v=w2a3,gate=w4a3,blocks.1.o=w1a16,blocks.2.down=w3a3",
                                                 GridShape::gaussian}),
                         [](const testing::TestParamInfo<Mixture>& of) { return std::string(of.param.name); });

}  // namespace
}  // namespace lowbit
