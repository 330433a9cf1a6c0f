#include "lowbit/nn/kernel_choice.h"

#include <array>
#include <cassert>

#include "lowbit/base/error.h"

namespace lowbit::nn {
namespace {

constexpr bool everywhere(Isa) { return true; }
constexpr double two(const Format&) { return 2; }
constexpr double none(const Format&) { return 0; }

constexpr std::array kTable{
    Kernel{"codes", "one byte a weight, multiplied as bytes",
           [](const Format& f) { return f.quantized() && f.activation; }, everywhere,
           [](const Format&) { return Ceiling::int8; }, two, [](const Format&) { return 8.0; }, none, 1},
    Kernel{"float", "one float32 a weight, multiplied one after another",
           [](const Format& f) { return f.kind == Format::Kind::f32 || f.weight_only(); }, everywhere,
           [](const Format&) { return Ceiling::f32; }, two, [](const Format&) { return 32.0; }, none, 1},
    Kernel{"bf16", "one bfloat16 a weight, multiplied in pairs", [](const Format& f) { return f.kind == Format::Kind::bf16; },
           everywhere, [](const Format&) { return Ceiling::bf16; }, two, [](const Format&) { return 16.0; }, none, 1},
};

double activation_bytes(const Format& f) {
  return f.kind == Format::Kind::bf16 ? 2 : f.quantized() && f.activation ? 1 : 4;
}

std::string usable(const Format& format) {
  std::string names;
  for (const Kernel& kernel : kTable)
    if (kernel.serves(format) && kernel.runs(active_isa())) names += (names.empty() ? "" : ", ") + std::string(kernel.name);
  return names;
}

}  // namespace

std::span<const Kernel> kernel_table() { return kTable; }

const Kernel* find_kernel(std::string_view name) {
  for (const Kernel& kernel : kTable)
    if (kernel.name == name) return &kernel;
  return nullptr;
}

Work work_of(const Kernel& kernel, const Product& p) {
  const auto rows = static_cast<double>(p.rows), n = static_cast<double>(p.n), k = static_cast<double>(p.k);
  const double weight_bytes = kernel.bits(p.format) / 8;
  const double tiles = static_cast<double>((p.rows + kernel.tile_rows - 1) / kernel.tile_rows);
  Work work;
  work.unit = kernel.unit(p.format);
  work.operations = rows * n * k * kernel.operations(p.format);
  work.instructions = tiles * n * k / 64 * kernel.instructions(p.format);
  work.bytes = n * k * weight_bytes + rows * (k * activation_bytes(p.format) + 4 * n);
  work.resident = (p.weights_in_turn > 0 ? p.weights_in_turn : n * k) * weight_bytes;
  return work;
}

Choice choose_kernel(const Rates& rates, const Product& product, std::string_view forced) {
  const Isa isa = active_isa();
  if (!forced.empty()) {
    const Kernel* kernel = find_kernel(forced);
    if (!kernel) {
      std::string names;
      for (const Kernel& known : kTable) names += (names.empty() ? "" : ", ") + std::string(known.name);
      fail_usage("there is no kernel '{}'; choose one of {}", forced, names);
    }
    if (!kernel->serves(product.format))
      fail_usage("the kernel '{}' cannot multiply {}; these can: {}", forced, product.format.name(), usable(product.format));
    if (!kernel->runs(isa))
      fail_usage("the kernel '{}' does not run under {} on this processor ({}); for {} these do: {}", forced, isa_name(isa),
                 cpu_features().name, product.format.name(), usable(product.format));
    return {kernel, estimate(rates, work_of(*kernel, product))};
  }
  Choice best;
  for (const Kernel& kernel : kTable) {
    if (!kernel.serves(product.format) || !kernel.runs(isa)) continue;
    const Estimate e = estimate(rates, work_of(kernel, product));
    if (!best.kernel || e.seconds() < best.estimate.seconds()) best = {&kernel, e};
  }
  assert(best.kernel);
  return best;
}

}  // namespace lowbit::nn
