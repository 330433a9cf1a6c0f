// Included once for each instruction set, whose vectors the compiler finds by itself: 16 sums side by side. No
// functions of other headers are called, which could be kept with this instruction set for all of the program.
namespace lowbit::kernels {
namespace {

constexpr std::size_t kLanes = 16;

float sum_of(const float* lanes) {
  float sum = 0;
  for (std::size_t j = 0; j < kLanes; ++j) sum += lanes[j];
  return sum;
}

RowSums step_row(const StepRow& row) {
  // Everything by value and no branch, else the compiler goes one by one: a tenth of a training step.
  const float* const g = row.g;
  const float* const x = row.x;
  const std::uint8_t* const codes = row.codes;
  const float offset = row.offset, inverse = row.inverse, edge = row.edge, factor = row.factor, addend = row.addend;
  const float within = row.clamped_only ? 0.0f : 1.0f;
  float steps[kLanes] = {}, offsets[kLanes] = {};
  const auto lanes = [=](std::size_t i, std::size_t count, float* __restrict to_step, float* __restrict to_offset)
                         __attribute__((always_inline)) {
    for (std::size_t j = 0; j < count; ++j) {
      const float v = x[i + j] - offset, q = factor * static_cast<float>(codes[i + j]) + addend;
      const float unclamped = within * (q - v * inverse);
      const float of_step = __builtin_fabsf(v) <= edge ? unclamped : q,
                  of_offset = __builtin_fabsf(v) <= edge ? 0.0f : 1.0f;
      to_step[j] += g[i + j] * of_step;
      to_offset[j] += g[i + j] * of_offset;
    }
  };
  std::size_t i = 0;
  for (; i + kLanes <= row.k; i += kLanes) lanes(i, kLanes, steps, offsets);
  lanes(i, row.k - i, steps, offsets);
  return {sum_of(steps), sum_of(offsets)};
}

RowSums adabin_row(std::size_t k, float alpha, float offset, const float* x, float* g) {
  float alphas[kLanes] = {}, betas[kLanes] = {};
  const float inverse = 1.0f / alpha;
  const auto lanes = [=](const float* __restrict from, std::size_t count, float* __restrict gradient,
                         float* __restrict to_alpha, float* __restrict to_beta) __attribute__((always_inline)) {
    for (std::size_t j = 0; j < count; ++j) {
      const float z = (from[j] - offset) * inverse, s = z < 0.0f ? -1.0f : 1.0f;
      const float falling = 2.0f - 2.0f * __builtin_fabsf(z), slope = falling > 0.0f ? falling : 0.0f, d = gradient[j];
      to_alpha[j] += d * (s - z * slope);
      to_beta[j] += d * (1.0f - slope);
      gradient[j] = d * slope;
    }
  };
  std::size_t i = 0;
  for (; i + kLanes <= k; i += kLanes) lanes(x + i, kLanes, g + i, alphas, betas);
  lanes(x + i, k - i, g + i, alphas, betas);
  return {sum_of(alphas), sum_of(betas)};
}

float dot(std::size_t n, const float* a, const float* b) {
  float lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] += a[i + j] * b[i + j];
  for (std::size_t j = 0; i + j < n; ++j) lanes[j] += a[i + j] * b[i + j];
  return sum_of(lanes);
}

void add_scaled(std::size_t n, float a, const float* x, float* y) {
  for (std::size_t i = 0; i < n; ++i) y[i] += a * x[i];
}

}  // namespace
}  // namespace lowbit::kernels
