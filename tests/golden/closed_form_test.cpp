#include "golden/closed_form.h"

#include <gtest/gtest.h>

#include "golden/run_golden.h"
#include "golden/test_support.h"
#include "lowbit/model/schedule.h"

// The reference templates in double against numbers from outside of the engine. Two programs that compute the same
// formulas in float64 differ by the order of their sums only, 1e-15 or so a step; a code or a mask entry that differs
// would show as 1e-3.
namespace lowbit::golden::closed_form {
namespace {

struct ClosedForm : testing::TestWithParam<std::string> {};

TEST_P(ClosedForm, TenStepsAreRepeatedInDouble) {
  const test::GoldenRun golden = run(GetParam());
  const auto ids = batches();
  ASSERT_EQ(ids.size(), kSteps + 1);
  ASSERT_EQ(golden.loss.size(), kSteps);
  ASSERT_EQ(golden.step0.logits.size(), kVocabulary);
  const auto [scheme, rules] = golden_setup(GetParam() + "@closed");
  ReferenceModel<double> model(weights(), scheme, rules, kShape);
  ReferenceAdamW<double> optimizer;
  const auto forward = [&](std::size_t step) { return model.forward({kSequences, kLength, ids[step]}); };
  for (std::size_t step = 0; step < kSteps; ++step) {
    SCOPED_TRACE(step);
    EXPECT_NEAR(forward(step), golden.loss[step], 1e-11);
    model.backward();
    if (step == 0) {
      for (std::size_t i = 0; i < kVocabulary; ++i)
        EXPECT_NEAR(model.logits(kLength - 1)[i], golden.step0.logits[i], 1e-11);
      EXPECT_EQ(golden.step0.grad.size(), model.parameters().size());
      for (const auto& [name, summary] : golden.step0.grad)
        EXPECT_LE(relative(l2(model.parameter(name).gradient), summary.l2), 1e-10) << name;
      for (const auto& [text, wanted] : golden.step0.entries) {
        const test::EntrySlice at = test::parse_entry_slice(text);
        const std::size_t columns = at.tensor.find("down_proj") == std::string::npos ? kShape.hidden : kShape.mlp;
        for (std::size_t i = at.first; i < at.last; ++i)
          EXPECT_NEAR(model.parameter(at.tensor).gradient[at.row * columns + i], wanted[i - at.first], 1e-11) << text;
      }
    }
    const double lr = model::one_cycle_cosine(static_cast<std::int64_t>(step), kSteps, kWarmup, kPeak);
    EXPECT_NEAR(lr, golden.lr[step], 1e-15);
    EXPECT_LE(relative(optimizer.step(model, lr), golden.grad_norm[step]), 1e-10);
  }
  EXPECT_NEAR(forward(kSteps), golden.extra_loss, 1e-11);
  for (const auto& [name, summary] : golden.params_end)
    EXPECT_LE(relative(l2(model.parameter(name).value), summary.l2), 1e-11) << name;
}

INSTANTIATE_TEST_SUITE_P(Runs, ClosedForm, testing::Values("none", "w4a4", "w3a3", "w2a2", "w1a1"), golden_test_name);

}  // namespace
}  // namespace lowbit::golden::closed_form
