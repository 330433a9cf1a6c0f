#include "lowbit/nn/kernel_choice.h"

#include <array>
#include <cassert>
#include <optional>

#include "lowbit/base/error.h"
#include "lowbit/kernels/packed_panels.h"
#include "lowbit/kernels/plane_panels.h"

namespace lowbit::nn {
namespace {

constexpr bool everywhere(Isa) { return true; }
constexpr double two(const Format&) { return 2; }
constexpr double none(const Format&) { return 0; }

bool integer(const Format& f) { return f.integer(); }
double planes_of(const Grid& grid) { return kernels::plane_count(grid); }

// A mask and a shift or load for 64 weights of one field; widths of several fields (3 is 2 and 1) take as many more,
// and their sum. Unpacked once for the rows of a task.
double unpacking(const Format& f) { return 3.0 * kernels::code_fields(f.weight->storage_bits).count - 1; }
constexpr std::size_t kRowsPerUnpacking = 96;

constexpr std::array kTable{
    Kernel{KernelId::codes, "codes", "one byte a weight, multiplied as bytes",  //
           integer, everywhere, [](const Format&) { return Ceiling::int8; }, two, [](const Format&) { return 8.0; },
           none, 1, true},
    Kernel{KernelId::packed, "packed", "weights at their own width, unpacked in registers or once for many rows",
           [](const Format& f) { return f.integer() && f.weight->plain(); }, everywhere,
           [](const Format&) { return Ceiling::int8; }, two,
           [](const Format& f) { return static_cast<double>(f.weight->storage_bits); }, unpacking, kRowsPerUnpacking,
           false},
    Kernel{KernelId::planes, "planes", "a bit of each weight side by side, multiplied by xor and counting",
           [](const Format& f) {
             return f.integer() && kernels::has_planes(*f.weight) && kernels::has_planes(*f.activation);
           },
           everywhere, [](const Format&) { return Ceiling::binary; },
           [](const Format& f) { return 2 * planes_of(*f.weight) * planes_of(*f.activation); },
           [](const Format& f) { return planes_of(*f.weight); }, none, 1, false},
    Kernel{KernelId::floats, "float", "one float32 a weight, multiplied one after another",
           [](const Format& f) { return f.kind == Format::Kind::f32 || (f.quantized() && !f.integer()); }, everywhere,
           [](const Format&) { return Ceiling::f32; }, two, [](const Format&) { return 32.0; }, none, 1, true},
    Kernel{KernelId::bf16, "bf16", "one bfloat16 a weight, multiplied in pairs",
           [](const Format& f) { return f.kind == Format::Kind::bf16; }, everywhere,
           [](const Format&) { return Ceiling::bf16; }, two, [](const Format&) { return 16.0; }, none, 1, false},
};

std::optional<Rates> given_rates;
const Kernel* forced = nullptr;

double activation_bytes(const Format& f) {
  return f.kind == Format::Kind::bf16 ? 2 : f.integer() ? 1 : 4;
}

bool multiplies(const Kernel& kernel, const Format& format, bool sliced) {
  return kernel.serves(format) && (!sliced || kernel.slices);
}

std::string usable(const Format& format, bool sliced) {
  std::string names;
  for (const Kernel& kernel : kTable)
    if (multiplies(kernel, format, sliced) && kernel.runs(active_isa()))
      names += (names.empty() ? "" : ", ") + std::string(kernel.name);
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

Choice choose_kernel(const Rates& rates, const Product& product) {
  Choice best;
  for (const Kernel& kernel : kTable) {
    if (!multiplies(kernel, product.format, product.sliced) || !kernel.runs(active_isa())) continue;
    const Estimate e = estimate(rates, work_of(kernel, product));
    if (!best.kernel || e.seconds() < best.estimate.seconds()) best = {&kernel, e};
  }
  assert(best.kernel);
  return best;
}

const Kernel& kernel_for_weights(const Format& format, std::size_t n, std::size_t k, Purpose purpose, int threads,
                                 bool sliced) {
  if (forced && multiplies(*forced, format, sliced) && forced->runs(active_isa())) return *forced;
  constexpr std::size_t kPrompt = 512;
  constexpr double kOutOfMemory = 1e15;
  const Rates rates = given_rates ? *given_rates : typical_rates(active_isa(), threads);
  const Kernel* best = nullptr;
  double least = 0;
  for (const Kernel& kernel : kTable) {
    if (!multiplies(kernel, format, sliced) || !kernel.runs(active_isa())) continue;
    double seconds = estimate(rates, work_of(kernel, {kPrompt, n, k, format, kOutOfMemory})).seconds() / kPrompt;
    if (purpose == Purpose::run) seconds += estimate(rates, work_of(kernel, {1, n, k, format, kOutOfMemory})).seconds();
    if (!best || seconds < least) {
      best = &kernel;
      least = seconds;
    }
  }
  assert(best);
  return *best;
}

Choice choice_for_weights(const Rates& rates, const Product& p) {
  const Kernel& kernel = kernel_for_weights(p.format, p.n, p.k, Purpose::run, rates.threads, p.sliced);
  return {&kernel, estimate(rates, work_of(kernel, p))};
}

void set_kernel_rates(const Rates& rates) { given_rates = rates; }

void force_kernel(std::string_view name, const Format& format, bool sliced) {
  forced = nullptr;
  if (name.empty()) return;
  const Kernel* kernel = find_kernel(name);
  if (!kernel) {
    std::string names;
    for (const Kernel& known : kTable) names += (names.empty() ? "" : ", ") + std::string(known.name);
    fail_usage("there is no kernel '{}'; choose one of {}", name, names);
  }
  if (!multiplies(*kernel, format, sliced))
    fail_usage("the kernel '{}' cannot multiply {}{}; these can: {}", name, format.name(),
               sliced ? " with several scales a row" : "", usable(format, sliced));
  if (!kernel->runs(active_isa()))
    fail_usage("the kernel '{}' does not run under {} on this processor ({}); for {} these do: {}", name,
               isa_name(active_isa()), cpu_features().name, format.name(), usable(format, sliced));
  forced = kernel;
}

}  // namespace lowbit::nn
