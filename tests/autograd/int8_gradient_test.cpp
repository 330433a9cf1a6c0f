#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "autograd/small_config.h"
#include "lowbit/autograd/llama.h"
#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/rng.h"

// `--backward int8` on a whole model: its gradients are those of float32 with noise, which averages out.
namespace lowbit {
namespace {

constexpr std::size_t kRows = 160, kLength = 80;

/// The gradients of all parameters, one after another.
class Model {
 public:
  Model(const std::string& format, const std::string& head, kernels::Precision precision, int threads,
        std::int64_t scale_group = 0)
      : executor_(threads),
        llama_(executor_, test::small_config(2), scheme(format, head, scale_group), precision, kLength) {
    llama_.initialize(3);
    for (autograd::Parameter& p : llama_.parameters()) {
      if (p.spec.role == model::TensorRole::norm) continue;
      float* const v = p.value.mutable_data_ptr<float>();
      for (std::int64_t i = 0; i < p.value.numel(); ++i) v[i] *= 4;
    }
    llama_.refresh();
    const Rng rng(17);
    for (std::size_t i = 0; i < kRows; ++i) {
      ids_.push_back(static_cast<std::int32_t>(rng.below(2 * i, 101)));
      targets_.push_back(static_cast<std::int32_t>(rng.below(2 * i + 1, 101)));
    }
  }
  std::vector<float> gradients(const autograd::Draws& draws) {
    llama_.zero_gradients();
    llama_.set_draws(draws);
    std::vector<double> losses(kRows);
    llama_.accumulate(ids_, targets_, kLength, 1.0f / kRows, losses);
    std::vector<float> all;
    for (const autograd::Parameter& p : llama_.parameters()) {
      const float* g = p.grad.const_data_ptr<float>();
      all.insert(all.end(), g, g + p.grad.numel());
    }
    return all;
  }

 private:
  static Scheme scheme(const std::string& format, const std::string& head, std::int64_t scale_group) {
    Scheme s = default_scheme(parse_format(format));
    s.scale_group = scale_group;
    if (scale_group) s.transform = Transform::none;  // whose groups are longer
    s.head = parse_head(head);
    s.check();
    return s;
  }
  autograd::TorchExecutor executor_;
  autograd::Llama llama_;
  std::vector<std::int32_t> ids_, targets_;
};

double relative_error(const std::vector<float>& got, const std::vector<float>& expected) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double d = static_cast<double>(got[i]) - static_cast<double>(expected[i]);
    error += d * d;
    norm += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return std::sqrt(error / norm);
}

TEST(Int8Backward, GradientsAreThoseOfFloat32WithNoiseThatAveragesOut) {
  struct Case {
    const char *format, *head;
    std::int64_t group = 0;
  };
  for (const auto& [format, head, group] : {Case{"w4a4", "bf16"},
                                            {"w4a4", "w8a8"},
                                            {"w1a1", "bf16"},
                                            {"w1.58a8", "w4a8"},
                                            {"w8a8", "f32"},
                                            {"w4a16", "bf16"},
                                            {"w2a2", "bf16", 64}}) {
    const std::vector<float> exact = Model(format, head, kernels::Precision::f32, 1, group).gradients({});
    const double of_bf16 = relative_error(Model(format, head, kernels::Precision::bf16, 1, group).gradients({}), exact);
    Model model(format, head, kernels::Precision::int8, 1, group);
    constexpr std::uint64_t kDraws = 64;
    std::vector<double> sum(exact.size());
    double of_one = 0;
    for (std::uint64_t i = 0; i < kDraws; ++i) {
      const std::vector<float> g = model.gradients({5, i / 4, i % 4});
      of_one += relative_error(g, exact) / kDraws;
      for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += static_cast<double>(g[j]);
    }
    std::vector<float> mean(sum.size());
    for (std::size_t j = 0; j < sum.size(); ++j) mean[j] = static_cast<float>(sum[j] / kDraws);
    const double of_mean = relative_error(mean, exact);
    RecordProperty(fmt::format("{}_{}_{}", format, head, group),
                   std::to_string(of_one) + " mean " + std::to_string(of_mean));
    EXPECT_LT(of_one, 0.05) << format;
    EXPECT_GT(of_one, of_bf16) << format;
    // 64 draws leave an eighth of the noise, beside what bf16 rounds (attention, products without codes).
    EXPECT_LT(of_mean, of_one / 6 + of_bf16) << format;
  }
}

TEST(Int8Backward, BitsDependOnSeedStepAndMicroBatchAloneAndNotOnThreads) {
  Model one("w4a4", "w8a8", kernels::Precision::int8, 1), two("w4a4", "w8a8", kernels::Precision::int8, 2);
  const std::vector<float> g = one.gradients({7, 3, 1});
  for (const autograd::Draws& other : {autograd::Draws{8, 3, 1}, {7, 4, 1}, {7, 3, 2}})
    EXPECT_GT(relative_error(one.gradients(other), g), 1e-3);
  EXPECT_EQ(std::memcmp(one.gradients({7, 3, 1}).data(), g.data(), g.size() * sizeof(float)), 0);
  EXPECT_EQ(std::memcmp(two.gradients({7, 3, 1}).data(), g.data(), g.size() * sizeof(float)), 0);
}

}  // namespace
}  // namespace lowbit
