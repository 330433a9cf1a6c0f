#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// What a training run writes down about itself, and how it is read back: docs/reference/formats.md, "metrics.jsonl and
// run.json". A number that is missing or not finite is NaN here and null in the file.
namespace lowbit::report {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

struct Interval {
  double low = kUnknown, high = kUnknown;
};

/// One optimizer update.
struct StepRecord {
  std::int64_t step = 0;         ///< counts updates from 1
  double loss = kUnknown;        ///< nats per token, before this update
  double lr = kUnknown;          ///< learning rate of this update
  double grad_norm = kUnknown;   ///< before clipping
  std::int64_t tokens = 0;       ///< trained on so far, this step included
  double seconds = kUnknown;     ///< of training so far, earlier sittings included
  double tok_s = kUnknown;       ///< tokens per second of this step
  double peak_share = kUnknown;  ///< share of the machine's measured peak, 0 to 1
};

/// One evaluation on held-out text.
struct EvalRecord {
  std::int64_t step = 0;
  double nats_per_token = kUnknown;
  std::optional<Interval> nats_per_token_interval;
  std::optional<double> bits_per_byte;  ///< not known where the data has no byte lengths
  std::optional<Interval> bits_per_byte_interval;
  std::int64_t tokens = 0;
  std::optional<std::int64_t> bytes;
  double seconds = kUnknown;  ///< that the evaluation took
  /// Of the last evaluation, which reads all held-out text: the same over the text that the earlier ones read, which
  /// alone can be compared with them. Nothing where both are one.
  struct First {
    double nats_per_token = kUnknown;
    std::optional<double> bits_per_byte;
    std::int64_t tokens = 0;
  };
  std::optional<First> first = std::nullopt;
  /// What a curve over steps shows.
  double curve_nats() const { return first ? first->nats_per_token : nats_per_token; }
  std::optional<double> curve_bits() const { return first ? first->bits_per_byte : bits_per_byte; }
};

/// Shares of entries, 0 to 1, whose gradient the trust mask stops.
struct LayerMasks {
  std::string layer;  ///< "model.layers.0.self_attn.q_proj"
  double weight = kUnknown;
  double input = kUnknown;  ///< NaN where activations are not quantized
};
struct MasksRecord {
  std::int64_t step = 0;
  std::vector<LayerMasks> layers;
};

/// A width that a layer might have had.
struct BitsChoice {
  std::string format;
  double bits = kUnknown;   ///< stored for a weight, scales included
  double error = kUnknown;  ///< |w - Q(w)|^2 / |w|^2
};
/// A layer of the blocks when --bits-budget was allotted.
struct LayerBits {
  std::string layer;         ///< "blocks.0.q"
  double alpha = kUnknown;   ///< nats that the loss rises for a relative error of 1, as fitted
  double alpha_error = kUnknown;  ///< its standard error; costs reckon with the larger of both
  std::string format;        ///< what it goes on with
  double bits = kUnknown;
  double cost = kUnknown;    ///< nats that its error is predicted to cost
  std::vector<BitsChoice> choices;
  std::vector<std::pair<double, double>> samples;  ///< relative size of the noise, change of the loss in nats
};
struct BitsRecord {
  std::int64_t step = 0;
  double loss = kUnknown;           ///< nats a token on the measured windows
  double budget = kUnknown, bits = kUnknown;  ///< mean bits of the blocks' weights: allowed, used
  double cost_before = kUnknown;    ///< predicted of the formats until then
  double cost = kUnknown;           ///< of those since
  std::string uniform;              ///< the widest format that fits for all layers alike; "": none does
  double uniform_bits = kUnknown, uniform_cost = kUnknown;
  std::vector<LayerBits> layers;
};

struct SampleRecord {
  std::int64_t step = 0;
  std::string prompt, text;  ///< text goes on where prompt ends
};

/// what: "resumed", "finished", "interrupted", "stopped" (detail says why), or another word.
struct EventRecord {
  std::int64_t step = 0;
  std::string what, detail;
};

/// One line of metrics.jsonl, with its line feed. Text that is not UTF-8 is mended, so a line can always be written.
std::string to_line(const StepRecord& record);
std::string to_line(const EvalRecord& record);
std::string to_line(const MasksRecord& record);
std::string to_line(const BitsRecord& record);
std::string to_line(const SampleRecord& record);
std::string to_line(const EventRecord& record);

/// bits.json: the same, indented.
std::string to_json(const BitsRecord& record);

/// run.json: what was asked for, on what, and what came of it. Zero, empty and NaN stand for "not known".
struct RunInfo {
  std::string program;                                     ///< "lowbit 0.1.0"
  std::vector<std::pair<std::string, std::string>> flags;  ///< every flag, defaults too, in the order of the help text
  /// What it was trained and evaluated on, by content: parts and hashes (files/data_identity.h); empty in older runs.
  std::vector<std::pair<std::string, std::string>> data;
  std::string format, head, estimator, transform;
  struct Model {
    std::int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, mlp = 0, vocab = 0, seq = 0;
    std::int64_t parameters = 0;        ///< all
    std::int64_t block_parameters = 0;  ///< of the linear layers in the blocks, which the format codes
  } model;
  std::int64_t steps = 0, tokens_per_step = 0;
  struct Machine {
    std::string cpu, isa;
    int threads = 0;
    double peak_gflops = kUnknown;  ///< measured; a multiply and an add are two
  } machine;
  struct Predicted {
    std::int64_t memory_bytes = 0;
    double seconds = kUnknown;
  } predicted;
  struct Sizes {  ///< bytes as stored
    std::int64_t codes = 0, scales = 0, head = 0, embedding = 0, norms = 0, total = 0;
  } sizes;
};

/// The text of run.json, indented.
std::string to_json(const RunInfo& info);

/// All that a run folder says about a run.
struct RunRecords {
  std::optional<RunInfo> info;
  std::vector<StepRecord> steps;  ///< ascending steps, each once, here and below
  std::vector<EvalRecord> evals;
  std::vector<MasksRecord> masks;
  std::vector<BitsRecord> bits;
  std::vector<SampleRecord> samples;  ///< ascending, several a step are allowed
  std::vector<EventRecord> events;    ///< in the file's order
  std::vector<std::string> notes;     ///< what could not be read, one sentence each
};

/// Reads run.json and metrics.jsonl of a run folder. A torn last line, as a killed run leaves, is passed over in
/// silence; other lines and fields that cannot be read are left out and counted in `notes`. Where a step comes again (a
/// run went back to a checkpoint), what stands later in the file holds.
/// throws Error(input): the folder has neither file, or a file cannot be opened or is larger than 4 GB.
RunRecords read_run(const std::filesystem::path& run_folder);

/// The parts of read_run, on text.
std::optional<RunInfo> parse_run_info(std::string_view json);  ///< nothing when it is no JSON object
void parse_metrics(std::string_view lines, RunRecords* records);

/// The step that a line of metrics.jsonl belongs to; nothing when the line is no record.
std::optional<std::int64_t> step_of_line(std::string_view line);

}  // namespace lowbit::report
