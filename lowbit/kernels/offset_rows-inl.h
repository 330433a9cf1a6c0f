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
  float steps[kLanes] = {}, offsets[kLanes] = {};
  const float within = row.clamped_only ? 0.0f : 1.0f;
  const auto lane = [&](std::size_t i, std::size_t j) {
    const float x = row.x[i] - row.offset, q = row.factor * static_cast<float>(row.codes[i]) + row.addend, g = row.g[i];
    const bool inside = (x <= row.edge) & (-x <= row.edge);
    const float unclamped = within * (q - x * row.inverse);
    steps[j] += g * (inside ? unclamped : q);
    offsets[j] += inside ? 0.0f : g;
  };
  std::size_t i = 0;
  for (; i + kLanes <= row.k; i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) lane(i + j, j);
  for (std::size_t j = 0; i + j < row.k; ++j) lane(i + j, j);
  return {sum_of(steps), sum_of(offsets)};
}

RowSums adabin_row(std::size_t k, float alpha, float offset, const float* x, float* g) {
  float alphas[kLanes] = {}, betas[kLanes] = {};
  const float inverse = 1.0f / alpha;
  const auto lane = [&](std::size_t i, std::size_t j) {
    const float z = (x[i] - offset) * inverse, size = z < 0.0f ? -z : z, s = z < 0.0f ? -1.0f : 1.0f;
    const float falling = 2.0f - 2.0f * size, slope = falling > 0.0f ? falling : 0.0f, d = g[i];
    alphas[j] += d * (s - z * slope);
    betas[j] += d * (1.0f - slope);
    g[i] = d * slope;
  };
  std::size_t i = 0;
  for (; i + kLanes <= k; i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) lane(i + j, j);
  for (std::size_t j = 0; i + j < k; ++j) lane(i + j, j);
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
