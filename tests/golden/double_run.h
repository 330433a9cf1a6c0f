#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "golden/run_golden.h"
#include "golden/test_support.h"
#include "lowbit/model/schedule.h"

// Golden runs repeated in double: tolerances A of golden/runs/README.md.
namespace lowbit::golden {

/// Logits, gradients and their entries of the last forward and backward of `model`.
inline void expect_step(ReferenceModel<double>& model, const test::GoldenStep& golden) {
  ASSERT_EQ(golden.logits.size(), 512u);
  Worst logits, norms, entries;
  for (std::size_t i = 0; i < golden.logits.size(); ++i)
    logits.see(std::abs(model.logits(kLogitsToken)[i] - golden.logits[i]));
  for (const auto& [tensor, summary] : golden.grad)
    // Where no gradient arrives (PACT as the code of the paper has it), exactly none.
    norms.see(summary.l2 == 0 ? l2(model.parameter(tensor).gradient)
                              : relative(l2(model.parameter(tensor).gradient), summary.l2));
  for (const auto& [text, wanted] : golden.entries) {
    const test::EntrySlice slice = test::parse_entry_slice(text);
    const auto& gradient = model.parameter(slice.tensor).gradient;
    const std::size_t columns = slice.tensor.find("down_proj") == std::string::npos ? 128 : 512;
    ASSERT_EQ(wanted.size(), slice.last - slice.first);
    double size = 0;
    for (const double w : wanted) size = std::max(size, std::abs(w));
    for (std::size_t i = 0; i < wanted.size(); ++i)
      entries.see(std::abs(gradient[slice.row * columns + slice.first + i] - wanted[i]) / (size > 0 ? size : 1));
  }
  EXPECT_LE(logits.value, 1e-11);
  EXPECT_LE(norms.value, 1e-9);
  EXPECT_LE(entries.value, 1e-9);
}

/// Forty steps of AdamW from init.safetensors, every loss within 1e-10, every gradient norm and end parameter within
/// 1e-9 of itself.
inline void expect_run_in_double(const std::string& name, std::size_t steps = 40) {
  SCOPED_TRACE(name);
  const test::GoldenRun golden = test::load_golden_run(name);
  const test::GoldenBatches batches;
  const auto [scheme, rules] = golden_setup(name);
  ReferenceModel<double> model(golden_weights(), scheme, rules);
  ReferenceAdamW<double> optimizer;
  Worst loss, norm, end;
  for (std::size_t step = 0; step < steps; ++step) {
    loss.see(std::abs(model.forward(golden_batch(batches, step)) - golden.loss[step]));
    model.backward();
    if (step == 0) expect_step(model, golden.step0);
    const double lr = model::one_cycle_cosine(static_cast<std::int64_t>(step), 40, 4, golden.lr[3]);
    norm.see(relative(optimizer.step(model, lr), golden.grad_norm[step]));
    ASSERT_LE(loss.value, 1e-10) << "step " << step;
    ASSERT_LE(norm.value, 1e-9) << "step " << step;
  }
  if (steps == golden.loss.size()) {
    loss.see(std::abs(model.forward(golden_batch(batches, 40)) - golden.extra_loss));
    for (const auto& [tensor, summary] : golden.params_end)
      end.see(relative(l2(model.parameter(tensor).value), summary.l2));
    EXPECT_EQ(golden.params_end.size(), model.parameters().size());
  }
  EXPECT_LE(loss.value, 1e-10);
  EXPECT_LE(end.value, 1e-9);
  std::printf(
      "%s: %zu steps, largest difference of a loss %.1e, of a gradient norm %.1e, of an end parameter's l2 %.1e\n",
      name.c_str(), steps, loss.value, norm.value, end.value);
}

/// Loss, logits and gradients at mid.safetensors, where norm weights are not 1, on batch 40.
inline void expect_mid_in_double(const std::string& name) {
  SCOPED_TRACE(name);
  const test::GoldenRun golden = test::load_golden_run(name);
  ASSERT_TRUE(golden.mid);
  const test::GoldenBatches batches;
  const auto [scheme, rules] = golden_setup(name);
  ReferenceModel<double> model(golden_weights("mid.safetensors"), scheme, rules);
  EXPECT_NEAR(model.forward(golden_batch(batches, 40)), golden.mid->loss, 1e-10);
  model.backward();
  EXPECT_LE(relative(model.gradient_norm(), golden.mid->grad_norm), 1e-9);
  expect_step(model, *golden.mid);
}

}  // namespace lowbit::golden
