#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/files/byte_sink.h"

// Checkpoints of a run folder (docs/reference/formats.md, "Checkpoint"): RUN/checkpoints/step-N/ with a manifest.json
// that lists every file's size and hash. A folder has that name only when all in it is written and durable.
namespace lowbit::files {

struct Checkpoint {
  std::filesystem::path folder;
  std::int64_t step = 0;
};

/// One file as the manifest lists it.
struct ManifestEntry {
  std::string name;
  std::uint64_t bytes = 0;
  std::uint64_t hash = 0;  ///< XXH3-64
};

/// Writes one checkpoint into checkpoints/.step-N.tmp-RANDOM and gives it its name when it is whole. Whatever fails,
/// and wherever the process dies, older checkpoints stay as they are and nothing half-written gets a final name.
class CheckpointWriter {
 public:
  /// The caller holds the run folder's lock (run_folder.h). throws Error(failed): the folder cannot be written.
  CheckpointWriter(const std::filesystem::path& run_folder, std::int64_t step);
  /// Unfinished, it takes its files away again.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Writes file `name` (no folder in it) with what `source` gives, hashed on the way and made durable.
  /// throws Error(failed): no space left, ...
  void add(std::string_view name, const ByteSource& source);
  void add(std::string_view name, std::string_view bytes);
  /// Writes the manifest and names the folder step-N; a step-N that was there is replaced in one move.
  /// returns the folder. throws Error(failed); the older checkpoints, a step-N among them, are whole then.
  std::filesystem::path finish();

 private:
  std::filesystem::path checkpoints_, temporary_, final_;
  std::int64_t step_;
  std::vector<ManifestEntry> files_;
  bool owned_ = true;  // the temporary folder is ours to remove
};

/// Sizes: the manifest reads well and every file has its size: quick. Hashes: every byte is read and compared too.
enum class Verify { sizes, hashes };

/// Called with one line for each damaged checkpoint that is passed over.
using Warn = std::function<void(std::string_view)>;

/// The newest checkpoint that is complete, or nullopt where there is none. Damaged ones are passed over, not changed.
std::optional<Checkpoint> newest_complete(const std::filesystem::path& run_folder, Verify verify = Verify::sizes,
                                          const Warn& warn = {});

/// What a checkpoint's manifest lists, checked. throws Error(input) that says what is damaged.
std::vector<ManifestEntry> verify_checkpoint(const Checkpoint& checkpoint, Verify verify);

/// All folders checkpoints/step-N, oldest first, complete or not.
std::vector<Checkpoint> list_checkpoints(const std::filesystem::path& run_folder);

/// Bytes of all files in all checkpoints of a run, complete or not.
std::uint64_t checkpoint_bytes(const std::filesystem::path& run_folder);

/// Removes the oldest so that `keep` (at least 1) complete ones remain up to and with `newest`, the step that was just
/// written or resumed from, which is never removed. Later steps stay: what made them damaged may be of interest, and
/// training replaces them when it gets there. throws Error(failed).
void prune_checkpoints(const std::filesystem::path& run_folder, int keep, std::int64_t newest);

/// Removes what writers that died left behind, and completes a replacement that was cut in half. Only under the run
/// folder's lock. throws Error(failed).
void clean_checkpoints(const std::filesystem::path& run_folder);

}  // namespace lowbit::files
