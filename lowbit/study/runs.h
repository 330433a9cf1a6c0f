#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/laws/points.h"
#include "lowbit/report/metrics.h"
#include "lowbit/report/summary.h"

// Training runs as a study looks at them: many beside each other, each one number of parameters, tokens and a loss.
namespace lowbit::study {

/// A run folder and what it comes to.
struct Run {
  std::filesystem::path folder;
  report::RunRecords records;
  report::Outcome outcome;
  std::string format;     ///< "w4a4"; with what is not usual: "w4a4 clip", "w4a4 cage=0.1", and the labels asked for
  double parameters = 0;  ///< without embedding and head
  double tokens = 0;      ///< trained on, at `eval`
  std::optional<report::EvalRecord> eval;  ///< of the planned last step, over all held-out text; nothing: not done
  std::string unfinished;  ///< why there is none, a sentence without its full stop: "is at step 20 of 300"

  /// A flag as run.json records it, or "".
  std::string flag(std::string_view name) const;
};

/// Whether a run came to its end: its last step is the planned one and the evaluation of it is written. A run that was
/// stopped, killed or is under way is not.
bool is_done(const report::RunRecords& records);

/// labels  flags whose values join the format's name, to be told apart: {"lr"} gives "w4a4 lr=0.001".
/// throws Error(input): no run folder, or its run.json is of another version and lacks what is needed.
Run read_run(const std::filesystem::path& folder, const std::vector<std::string>& labels = {});

/// Runs from a CSV file as `sweep` writes it (results.csv): what laws::read_csv reads, the columns seed, loss_low,
/// loss_high, bits_per_byte, seconds and stored_bytes where they are there, and every other column as the flag of
/// `train` that it is named after. Such runs have a result only: no course, masks or samples. labels as in read_run.
/// throws Error(input) with file and line.
std::vector<Run> read_table(const std::filesystem::path& file, const std::vector<std::string>& labels = {});

/// The words of a Run::format: the format's own, then what is not usual about it.
std::vector<std::string> words_of(const std::string& name);

/// What sets a run of a format apart from the usual one, behind the format's word: Run::format.
std::string format_name(const Run& run, const std::vector<std::string>& labels);

/// Takes out of the formats' names what a full-precision run and all others have (a QK-norm, a gain of one rate),
/// labels aside: it tells nothing apart, and bf16 with it is the base of these runs. Gives a sentence that says what it
/// was, or "".
std::string take_out_shared(std::vector<Run>& runs, const std::vector<std::string>& labels = {});

/// Run folders that paths name: each itself, or for a folder of runs (a sweep's) those in it, by name. Of the latter
/// those without a run.json are left out, which `notes` get a sentence about. throws Error(input): a path that is
/// neither.
std::vector<std::filesystem::path> run_folders(const std::vector<std::filesystem::path>& paths,
                                               std::vector<std::string>* notes);

/// What a law is fitted to: run folders and folders of run folders, without what all share in their names, and CSV
/// files. Runs that are not done are left out, which `notes` say. throws Error(input): nothing to read, or nothing
/// done.
laws::Points points_of(const std::vector<std::filesystem::path>& paths, const std::vector<std::string>& labels = {});
laws::Points points_of(const std::vector<Run>& runs);

}  // namespace lowbit::study
