#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

// The 40-step training runs of the paper's code in float64 (golden/runs of the test data; its README says what each
// number is), for whatever engine is compared with them.
namespace lowbit::test {

struct TensorSummary {
  double l2 = 0, sum = 0;
};

/// One evaluation with gradients: at the initial weights on batch 0, or at mid.safetensors on batch 40.
struct GoldenStep {
  double loss = 0, grad_norm = 0;                      ///< nats per token; the norm before clipping
  std::vector<double> logits;                          ///< [vocabulary], of sequence 0, last position
  std::map<std::string, TensorSummary> grad;           ///< by Hugging Face tensor name, before clipping
  std::map<std::string, std::vector<double>> entries;  ///< "tensor[row,first:last]" to those gradient entries
};

struct GoldenRun {
  std::string name;
  std::vector<double> loss, grad_norm, lr;  ///< [40]; loss before the update, lr as step t uses it
  double extra_loss = 0;                    ///< batch 40 after the 40 updates
  GoldenStep step0;
  std::map<std::string, TensorSummary> params_end;
  std::vector<double> init_losses;  ///< [41] at the initial weights, or empty
  std::optional<GoldenStep> mid;    ///< at mid.safetensors
};

/// data_folder() / "golden"; only where data_folder() is not empty.
std::filesystem::path golden_folder();

/// name  as in golden.json: "w4a4", "w2a2@closed". throws Error(input): there is none of that name.
GoldenRun load_golden_run(const std::string& name);
/// The same from another file of that form.
GoldenRun load_golden_run(const std::filesystem::path& path, const std::string& name);

/// How far the 40 losses of a float32 engine may lie from the golden ones: the run is chaotic after the first code that
/// rounding decides otherwise. golden/runs/README.md, "Recommended tolerances", B, but for three rows that it did not
/// measure (golden.cpp says what was).
struct LossTolerance {
  std::array<double, 5> largest;  ///< of |difference| at steps 0, 1-3, 4-9, 10-19, 20-39
  std::array<double, 2> mean;     ///< of the mean signed difference over steps 10-19, 20-39
};
/// bf16_backward matters for `none` alone. throws Error(input): no tolerance is known for that run.
LossTolerance loss_tolerance(const std::string& name, bool bf16_backward);
/// Empty when all 40 losses lie within the tolerance; otherwise a line for each bound that is broken.
std::string compare_losses(const GoldenRun& golden, std::span<const double> losses, const LossTolerance& tolerance);

/// batches.bin: [41, 8, 65] ids; inputs are the first 64 of each window, targets the last 64.
class GoldenBatches {
 public:
  static constexpr std::size_t kBatches = 41, kSequences = 8, kLength = 64;
  GoldenBatches();
  /// [8, 65] of batch b.
  std::span<const std::uint16_t> batch(std::size_t b) const;

 private:
  std::vector<std::uint16_t> ids_;
};

/// A slice such as "model.embed_tokens.weight[449,0:8]" of golden gradients, taken apart.
struct EntrySlice {
  std::string tensor;
  std::size_t row = 0, first = 0, last = 0;
};
EntrySlice parse_entry_slice(const std::string& text);

}  // namespace lowbit::test
