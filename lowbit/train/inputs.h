#pragma once
#include <filesystem>
#include <memory>
#include <optional>

#include "lowbit/files/data_identity.h"
#include "lowbit/files/token_shard.h"
#include "lowbit/text/data_folder.h"
#include "lowbit/text/tokenizer.h"
#include "lowbit/train/feed.h"
#include "lowbit/train/options.h"
#include "lowbit/train/predict.h"

namespace lowbit::train {

/// The model that a run learns from besides the data (--distill).
struct Teacher {
  std::filesystem::path folder;
  model::Config config;  ///< with the run's positions, begin and end
  Scheme scheme;
};

/// What a run reads: windows to train on, held-out text, the tokenizer that samples need.
struct Inputs {
  std::unique_ptr<text::DataFolder> data;  ///< none with --batches
  const files::TokenShard *train_shard = nullptr, *valid_shard = nullptr;
  files::DataIdentity identity;
  std::unique_ptr<Feed> feed, eval_feed;
  std::filesystem::path tokenizer_file;
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::optional<Teacher> teacher;

  bool held_out() const { return eval_feed || valid_shard; }
};

/// Opens and verifies them. throws Error(usage, input): data that is missing, damaged, too short, of a larger
/// vocabulary,
///        or of another tokenizer than the model to start from; a teacher of another vocabulary or tokenizer.
Inputs open_inputs(const Options& options);

/// Refuses other data than a run was begun with: what run.json records of it, by content. A run that records nothing
/// (of an earlier version) takes any. throws Error(input).
void require_recorded_data(const std::filesystem::path& run_json, const Inputs& inputs, const Options& options);

/// As predict (predict.h), with what a teacher takes besides.
Prediction predict(const Options& options, const Inputs& inputs, const Peaks& peaks);

/// throws Error(input) when the memory that is available now is less than predicted.
void require_memory(const Prediction& prediction);

/// What a run would be, looked up without making anything: every refusal that training would come to before its first
/// step, apart from those of its folder.
struct Outline {
  Prediction prediction;
  bool held_out = false;  ///< whether there is text to evaluate on
};
Outline outline(const Options& options);

}  // namespace lowbit::train
