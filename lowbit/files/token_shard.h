#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "lowbit/base/hash.h"

// Token shards, train.lbd and valid.lbd (docs/reference/formats.md, "Token shard"): token ids as one row of uint16 or
// uint32, and where documents begin in it and how many bytes of text each holds.
namespace lowbit::files {

/// What a shard holds. tokenizer_hash is 0, and documents and bytes too, for token files that came without text.
struct TokenShardCounts {
  std::uint64_t vocabulary = 0;      ///< ids are below it
  std::uint64_t tokenizer_hash = 0;  ///< XXH3 of the tokenizer's file
  std::uint64_t tokens = 0;
  std::uint64_t documents = 0;  ///< 0: where documents begin is not known
  std::uint64_t bytes = 0;      ///< of text, all documents together
};

/// Writes a shard front to back; memory grows by 16 bytes a document.
class TokenShardWriter {
 public:
  /// vocabulary 1 to 2^32; ids take 2 bytes up to 65536, else 4.
  /// has_text: documents are begun and their text's bytes counted; else tokens are one row without documents.
  TokenShardWriter(std::filesystem::path path, std::uint64_t vocabulary, std::uint64_t tokenizer_hash, bool has_text);

  /// The tokens that follow belong to a new document. A document has at least one token.
  void begin_document();
  /// ids below the vocabulary (asserted), of text_bytes bytes of text.
  void add(std::span<const std::uint32_t> ids, std::uint64_t text_bytes);
  const TokenShardCounts& counts() const { return counts_; }
  /// Writes tables and header and gives the file its name. returns the header's hash, which fixes all other bytes.
  std::uint64_t commit();

 private:
  void end_document();
  AtomicFile file_;
  TokenShardCounts counts_;
  std::uint64_t width_;
  bool has_text_;
  std::vector<std::uint64_t> starts_, lengths_;
  Hasher hasher_;
  std::vector<std::uint16_t> narrow_;
};

/// A shard, mapped. Opening checks the header, its hash and every size against the file; verify() the rest.
class TokenShard {
 public:
  /// throws Error(input): not a shard, of a later version, damaged header, cut short or too long.
  explicit TokenShard(const std::filesystem::path& path);

  const TokenShardCounts& counts() const { return counts_; }
  /// The hash of the header, which holds those of all other bytes: it says which data this is.
  std::uint64_t header_hash() const { return header_hash_; }
  std::uint64_t tokens() const { return counts_.tokens; }
  /// Bytes per id: 2 or 4.
  std::size_t width() const { return width_; }
  /// All ids; the one that fits width(), the other is empty.
  std::span<const std::uint16_t> tokens16() const { return tokens16_; }
  std::span<const std::uint32_t> tokens32() const { return tokens32_; }
  std::uint32_t token(std::uint64_t i) const { return width_ == 2 ? tokens16_[i] : tokens32_[i]; }
  /// Copies ids begin, begin + 1, ... into out. begin + out.size() <= tokens().
  void copy(std::uint64_t begin, std::span<std::uint32_t> out) const;

  bool has_documents() const { return counts_.documents > 0; }
  /// The first token of each document, ascending from 0; empty without documents.
  std::span<const std::uint64_t> document_starts() const { return starts_; }
  std::uint64_t document_end(std::uint64_t document) const {
    return document + 1 < counts_.documents ? starts_[document + 1] : counts_.tokens;
  }
  /// The bytes of text of each document.
  std::span<const std::uint64_t> document_bytes() const { return lengths_; }

  /// Reads the whole file: hashes, ids below the vocabulary, documents in order, bytes that add up. Once, before
  /// training. throws Error(input) that says what differs.
  void verify() const;
  const std::string& path() const { return map_.path(); }

 private:
  [[noreturn]] void damaged(std::string_view what) const;
  FileMap map_;
  TokenShardCounts counts_;
  std::size_t width_ = 0;
  std::uint64_t hashes_[3] = {}, header_hash_ = 0;
  std::span<const std::uint16_t> tokens16_;
  std::span<const std::uint32_t> tokens32_;
  std::span<const std::uint64_t> starts_, lengths_;
};

}  // namespace lowbit::files
