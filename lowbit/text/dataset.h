#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lowbit/base/file_lock.h"
#include "lowbit/files/token_shard.h"
#include "lowbit/text/reader.h"

// Data folders (docs/reference/formats.md, "Data folder"): train.lbd, valid.lbd, data.json, and for text the
// tokenizer's file.
namespace lowbit::text {

inline constexpr const char* kTrainShard = "train.lbd";
inline constexpr const char* kValidShard = "valid.lbd";
inline constexpr const char* kDataRecord = "data.json";

/// What both sources of data have in common.
struct DataOutput {
  std::filesystem::path folder;
  bool force = false;  ///< a folder that is not empty may be written into
};

struct TextDataOptions {
  std::vector<std::filesystem::path> in;
  std::vector<std::filesystem::path> valid_in;  ///< held-out text; empty: a share of `in` is held out
  double valid_share = 0.02;                    ///< (0, 0.5]
  std::uint64_t seed = 0;
  ReadOptions read;
  std::filesystem::path tokenizer;  ///< file or folder
  DataOutput out;
  int threads = 1;
};

struct RawDataOptions {
  std::vector<std::filesystem::path> in, valid_in;
  double valid_share = 0.02;
  std::uint64_t vocabulary = 0;
  int width = 2;  ///< bytes per id in the files: 2 or 4, little-endian
  DataOutput out;
};

struct DataSummary {
  files::TokenShardCounts train, valid;
  std::uint64_t train_hash = 0, valid_hash = 0;  ///< of the shards' headers
  std::string split;                             ///< how the held-out part was chosen
  std::uint64_t empty_documents = 0;             ///< left out
  /// Tokens of each shard that stand for text outside the vocabulary (<unk>); 0 where it has no such text or token.
  std::uint64_t train_unknown = 0, valid_unknown = 0;
};

/// Encodes text into a data folder. A document is the begin token (where the tokenizer has one) and the ids of its
/// text; no end token; documents follow one another. Bytes written depend on the text and the options alone, not on
/// `threads`.
/// memory  about 20 MB a thread, what unpacking takes, and the longest stretch of text that has no place to cut it
///         (Tokenizer::last_cut).
/// throws  Error(usage): share out of range, out not empty without force. Error(input): what readers, tokenizer and
///         split throw, or nothing to hold out. Interrupted. In all these cases no file of the folder has changed.
DataSummary make_text_data(const TextDataOptions& options);

/// Makes a data folder of token files: one row of ids, without documents or bytes of text; the last `valid_share` of
/// the ids is held out unless valid_in is given. Files may be packed, as texts may.
/// throws  Error(input): an odd number of bytes, an id not below the vocabulary (with its file and place), too few ids.
DataSummary make_raw_data(const RawDataOptions& options);

namespace detail {
/// Checks that the folder may be written into, makes it and locks it, clears away what a process that died
/// left. throws Error(usage): not empty without force, or another process writes into it. Error(failed).
class OutputFolder {
 public:
  explicit OutputFolder(const DataOutput& out);
  ~OutputFolder();  ///< takes the folder away again if it was made here and is still empty
  std::filesystem::path operator/(const char* name) const { return path_ / name; }
  /// Removes data.json and makes that durable: from here until a new one is written, the folder holds no data.
  void invalidate() const;

 private:
  std::filesystem::path path_;
  bool made_;
  std::optional<FolderLock> lock_;
};
void check_share(double share);
}  // namespace detail

}  // namespace lowbit::text
