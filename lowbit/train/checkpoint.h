#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lowbit/autograd/llama.h"
#include "lowbit/files/checkpoint.h"
#include "lowbit/model/config.h"
#include "lowbit/train/optimizer.h"
#include "lowbit/train/options.h"

namespace lowbit::train {

/// Where a run stands beside its tensors: state.json. No clock time is in it, so equal runs give equal bytes.
struct State {
  std::int64_t step = 0;        ///< updates done
  std::uint64_t cursor = 0;     ///< windows consumed
  std::int64_t tokens = 0;      ///< trained on
  std::int64_t total_steps = 0; ///< the schedule's length
  std::int64_t bits_step = 0;   ///< when --bits-budget was allotted; 0: not yet
  std::vector<LayerFormat> allotted;  ///< the rules since then
};

/// The arithmetic at that point of a run: scheme_at, with what was allotted.
Scheme scheme_of(const Options& options, const State& state);

/// Files of a model folder that go into every checkpoint as they are: name and bytes.
using Companions = std::vector<std::pair<std::string, std::string>>;
/// Those of a folder that a run starts from, or goes on from (model/companions.h): all where the run has no tokenizer
/// of its own or has the folder's; otherwise none, as they speak of another vocabulary. generation_config.json is not
/// among them: every checkpoint gets one of its own.
Companions companions_of(const std::filesystem::path& folder, const std::filesystem::path& tokenizer);

/// Writes checkpoints/step-N: a model folder (config.json, model.safetensors, generation_config.json, the tokenizer's
/// files), optimizer.safetensors and state.json (docs/reference/formats.md, "Checkpoint").
/// tokenizer: a file to copy, or empty. throws Error(failed): a full disk, a failed write; older checkpoints stay
/// whole.
void save_checkpoint(const std::filesystem::path& run_folder, const State& state, const Options& options,
                     autograd::Llama& llama, AdamW& optimizer, const std::filesystem::path& tokenizer,
                     const Companions& companions = {});

/// Reads one back. throws Error(input): it does not fit this model, or is damaged.
State load_checkpoint(const files::Checkpoint& checkpoint, autograd::Llama& llama, AdamW& optimizer);

/// Starts from a model folder's weights (--init). throws Error(input): another shape.
void load_weights(const std::filesystem::path& folder, autograd::Llama& llama);

}  // namespace lowbit::train
