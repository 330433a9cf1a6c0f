#include "lowbit/autograd/profile.h"

#include <fmt/format.h>

#include <string_view>

namespace lowbit::autograd {
namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(Work::count)> kNames{
    "windows of the data",
    "embedding",
    "norms",
    "norm or SwiGLU, code inputs",
    "products",
    "rope, keys, attention",
    "SwiGLU",
    "residual sums",
    "cross-entropy",
    "back: products dX",
    "back: products dW",
    "back: mask, rotate",
    "back: attention, rope",
    "back: rotate, SwiGLU",
    "back: rotate, norms",
    "back: embedding",
    "norm of gradients, AdamW",
    "code weights",
};

}  // namespace

void Profile::add(Work work, double seconds, double operations) {
  Sum& sum = sums_[static_cast<std::size_t>(work)];
  sum.seconds += seconds;
  sum.operations += operations;
}

void Profile::end_step(double seconds) {
  seconds_ += seconds;
  ++steps_;
}

std::string Profile::table() const {
  if (steps_ == 0 || seconds_ <= 0) return "";
  const auto steps = static_cast<double>(steps_);
  std::string out = fmt::format("{:<28} {:>9}  {:>6}  {:>7}\n", "kind of work", "ms a step", "share", "GOP/s");
  double rest = seconds_;
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    const Sum& sum = sums_[i];
    rest -= sum.seconds;
    if (sum.seconds == 0) continue;
    out +=
        fmt::format("{:<28} {:>9.2f}  {:>4.1f} %", kNames[i], 1e3 * sum.seconds / steps, 100 * sum.seconds / seconds_);
    out += sum.operations > 0 ? fmt::format("  {:>7.0f}\n", sum.operations / sum.seconds / 1e9) : "\n";
  }
  out += fmt::format("{:<28} {:>9.2f}  {:>4.1f} %\n", "between them", 1e3 * rest / steps, 100 * rest / seconds_);
  out += fmt::format("{:<28} {:>9.2f}  {:>4.0f} %  over {} steps\n", "a step", 1e3 * seconds_ / steps, 100.0, steps_);
  return out;
}

}  // namespace lowbit::autograd
