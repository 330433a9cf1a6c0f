#include "lowbit/model/config.h"

#include <algorithm>
#include <array>
#include <limits>

#include "lowbit/base/error.h"
#include "lowbit/model/tensors.h"

namespace lowbit::model {
namespace {

struct Preset {
  std::string_view name;
  std::int64_t layers, width, heads, mlp;
};

// Below 30m: heads of 64 and the paper's MLP rule, named by the parameters of the blocks. From 30m: the paper's table.
constexpr std::array kPresets{
    Preset{"0.5m", 2, 128, 2, 512},     Preset{"1m", 4, 128, 2, 512},       Preset{"2m", 5, 192, 3, 512},
    Preset{"4m", 5, 256, 4, 768},       Preset{"8m", 5, 384, 6, 1024},      Preset{"16m", 5, 512, 8, 1536},
    Preset{"30m", 6, 640, 5, 1792},     Preset{"50m", 7, 768, 6, 2048},     Preset{"100m", 8, 1024, 8, 2816},
    Preset{"200m", 10, 1280, 10, 3584}, Preset{"430m", 13, 1664, 13, 4608}, Preset{"800m", 16, 2048, 16, 5632},
    Preset{"1.6b", 20, 2560, 20, 6912},
};

void require_range(std::string_view flag, std::int64_t value, std::int64_t lo, std::int64_t hi) {
  if (value < lo || value > hi) fail_usage("{} must lie in {}..{}, not {}", flag, lo, hi, value);
}

}  // namespace

std::int64_t Config::block_parameters() const {
  return layers * (2 * width * q_width() + 2 * width * kv_width() + 3 * width * mlp);
}

std::int64_t Config::parameters() const {
  return block_parameters() + (2 * layers + 1) * width + (qk_norm ? 2 * layers * head_dim : 0) +
         (tied ? 1 : 2) * vocab * width;
}

void Config::check(const Scheme& scheme) const {
  constexpr std::int64_t kMost = std::int64_t{1} << 20;
  require_range("--layers", layers, 1, 1024);
  require_range("--width", width, 8, kMost);
  require_range("--heads", heads, 1, 4096);
  require_range("--kv-heads", kv_heads, 1, heads);
  require_range("--mlp", mlp, 8, kMost);
  require_range("--vocab", vocab, 2, std::int64_t{1} << 24);
  require_range("--seq", positions, 1, std::int64_t{1} << 20);
  require_range("head width", head_dim, 2, 256);
  if (heads % kv_heads != 0) fail_usage("--heads {} is not a multiple of --kv-heads {}", heads, kv_heads);
  if (head_dim % 2 != 0) fail_usage("a head is {} wide; rotary positions need an even width", head_dim);
  // Added to the mean square in float32: below its smallest normal number a row of zeros would become NaN.
  constexpr double kLeastEps = std::numeric_limits<float>::min();
  if (!(norm_eps >= kLeastEps && norm_eps < 1))
    fail_usage("rms_norm_eps must lie in [{:.3g}, 1), not {}", kLeastEps, norm_eps);
  if (!(rope_theta > 1 && rope_theta < 1e12)) fail_usage("rope_theta must lie in (1, 1e12), not {}", rope_theta);
  scheme.check();
  const auto require_rows = [&](const Format& format, std::int64_t k, std::string_view what) {
    if (!format.quantized() || !format.activation) return;
    if (!format.integer()) return;
    const std::int64_t longest = longest_row(*format.weight, *format.activation);
    if (k > longest)
      fail_usage("{} {} is too long for exact 32-bit sums under {}, which allow {}", what, k, format.name(), longest);
  };
  for (const Format& word : scheme.words())
    for (const auto& [k, what] : {std::pair{width, "--width"}, {q_width(), "heads times head width"}, {mlp, "--mlp"}}) {
      require_rows(scheme.with_grids(word), k, what);
      if (word.pairs() && k % 8 != 0)
        fail_usage("{} {} is not a multiple of 8, of which +2:4 keeps two pairs; the nearest that works is {}", what, k,
                   std::max<std::int64_t>(8, (k + 4) / 8 * 8));
      if (word.quantized() && scheme.transform != Transform::none) hadamard_group(k, what);
    }
  if (scheme.head.quantized()) {
    require_rows(scheme.head, width, "--width");
    hadamard_group(width, "--width");
  }
  check_layer_formats(*this, scheme);
  check_scale_group(*this, scheme);
}

std::int64_t default_mlp(std::int64_t width) { return (8 * width / 3 + 255) / 256 * 256; }

Config preset(std::string_view size) {
  for (const Preset& p : kPresets) {
    if (p.name != size) continue;
    Config c;
    c.layers = p.layers;
    c.width = p.width;
    c.heads = c.kv_heads = p.heads;
    c.head_dim = p.width / p.heads;
    c.mlp = p.mlp;
    return c;
  }
  std::string known;
  for (const Preset& p : kPresets) known += (known.empty() ? "" : ", ") + std::string(p.name);
  fail_usage("unknown --size '{}'; choose {}, or give --layers --width --heads", size, known);
}

std::vector<std::string_view> preset_names() {
  std::vector<std::string_view> names;
  for (const Preset& p : kPresets) names.push_back(p.name);
  return names;
}

}  // namespace lowbit::model
