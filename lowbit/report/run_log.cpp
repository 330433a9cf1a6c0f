#include "lowbit/report/run_log.h"

#include <chrono>
#include <cmath>
#include <initializer_list>
#include <vector>

#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"

namespace lowbit::report {
namespace {

constexpr std::size_t kLargestFile = std::size_t{4} << 30;

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

struct Named {
  std::string_view tag;
  double value;
};

// Unknown values are left out, but a loss that is NaN is news and goes in.
void add_scalars(EventFile* file, std::int64_t step, std::initializer_list<Named> values) {
  std::vector<Scalar> scalars;
  for (const Named& v : values)
    if (std::isfinite(v.value) || v.tag == "loss/train") scalars.push_back({v.tag, static_cast<float>(v.value)});
  if (!scalars.empty()) file->add(wall_time(), step, scalars);
}

std::filesystem::path cut(std::filesystem::path path, std::int64_t last_step,
                          void (*by)(const std::filesystem::path&, std::int64_t)) {
  by(path, last_step);
  return path;
}

}  // namespace

void cut_metrics(const std::filesystem::path& path, std::int64_t last_step) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error || size == 0) return;
  const std::string bytes = read_file(path, kLargestFile);
  std::string_view rest = bytes;
  std::string kept;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;
    const std::string_view line = rest.substr(0, end + 1);
    rest.remove_prefix(end + 1);
    if (const auto step = step_of_line(line); step && *step <= last_step) kept += line;
  }
  if (kept != bytes) write_file(path, kept);
}

RunLog::RunLog(const std::filesystem::path& run_folder, std::int64_t resumed_step)
    : metrics_(cut(run_folder / kMetricsFile, resumed_step, cut_metrics)),
      events_(cut(run_folder / kEventFile, resumed_step, cut_events), wall_time()) {}

void RunLog::add(const StepRecord& r) {
  metrics_.append(to_line(r));
  add_scalars(&events_, r.step,
              {{"loss/train", r.loss},
               {"optimizer/learning_rate", r.lr},
               {"optimizer/gradient_norm", r.grad_norm},
               {"speed/tokens_per_second", r.tok_s},
               {"speed/share_of_peak", r.peak_share}});
}

void RunLog::add(const EvalRecord& r) {
  metrics_.append(to_line(r));
  add_scalars(&events_, r.step,
              {{"loss/held_out", r.curve_nats()}, {"loss/bits_per_byte", r.curve_bits().value_or(kUnknown)}});
}

void RunLog::add(const MasksRecord& r) {
  metrics_.append(to_line(r));
  double weight = 0, input = 0;
  std::size_t weights = 0, inputs = 0;
  for (const LayerMasks& layer : r.layers) {
    if (std::isfinite(layer.weight)) weight += layer.weight, ++weights;
    if (std::isfinite(layer.input)) input += layer.input, ++inputs;
  }
  add_scalars(&events_, r.step,
              {{"masked/weights", weights ? weight / static_cast<double>(weights) : kUnknown},
               {"masked/activations", inputs ? input / static_cast<double>(inputs) : kUnknown}});
}

void RunLog::add(const BitsRecord& r) { metrics_.append(to_line(r)); }
void RunLog::add(const SampleRecord& r) { metrics_.append(to_line(r)); }
void RunLog::add(const EventRecord& r) { metrics_.append(to_line(r)); }

void RunLog::sync() {
  metrics_.sync();
  events_.sync();
}

}  // namespace lowbit::report
