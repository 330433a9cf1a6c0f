#include "lowbit/files/token_shard.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <string_view>

#include "lowbit/base/error.h"

namespace lowbit::files {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are little-endian, and mapped");

constexpr char kMagic[8] = {'L', 'O', 'W', 'B', 'I', 'T', 'D', '1'};
constexpr std::uint32_t kVersion = 1;

struct Header {
  char magic[8];
  std::uint32_t version;
  std::uint32_t width;
  std::uint64_t vocabulary;
  std::uint64_t tokenizer_hash;
  std::uint64_t tokens;
  std::uint64_t documents;
  std::uint64_t bytes;
  std::uint64_t hashes[3];  // of tokens, document starts, document bytes
  std::uint64_t reserved[5];
  std::uint64_t header_hash;  // of all before it
};
static_assert(sizeof(Header) == 128);

std::uint64_t hash_of(const Header& header) {
  return hash_bytes(std::as_bytes(std::span(&header, 1)).first(offsetof(Header, header_hash)));
}

constexpr std::uint64_t padded(std::uint64_t bytes) { return (bytes + 7) / 8 * 8; }

}  // namespace

TokenShardWriter::TokenShardWriter(std::filesystem::path path, std::uint64_t vocabulary, std::uint64_t tokenizer_hash,
                                   bool has_text)
    : file_(std::move(path)), width_(vocabulary <= 65536 ? 2 : 4), has_text_(has_text) {
  assert(vocabulary > 0 && vocabulary <= std::uint64_t{1} << 32);
  counts_.vocabulary = vocabulary;
  counts_.tokenizer_hash = tokenizer_hash;
  const Header room{};
  file_.write(std::as_bytes(std::span(&room, 1)));
}

void TokenShardWriter::begin_document() {
  assert(has_text_);
  end_document();
  starts_.push_back(counts_.tokens);
  lengths_.push_back(0);
}

void TokenShardWriter::end_document() { assert(starts_.empty() || starts_.back() < counts_.tokens); }

void TokenShardWriter::add(std::span<const std::uint32_t> ids, std::uint64_t text_bytes) {
  assert(!has_text_ || !starts_.empty());
  assert(std::all_of(ids.begin(), ids.end(), [&](std::uint32_t id) { return id < counts_.vocabulary; }));
  std::span<const std::byte> bytes = std::as_bytes(ids);
  if (width_ == 2) {
    narrow_.assign(ids.begin(), ids.end());
    bytes = std::as_bytes(std::span(narrow_));
  }
  hasher_.add(bytes);
  file_.write(bytes);
  counts_.tokens += ids.size();
  if (has_text_) {
    lengths_.back() += text_bytes;
    counts_.bytes += text_bytes;
  }
}

std::uint64_t TokenShardWriter::commit() {
  end_document();
  counts_.documents = starts_.size();
  const std::byte zeros[8] = {};
  file_.write(std::span(zeros).first(padded(file_.size()) - file_.size()));
  file_.write(std::as_bytes(std::span(starts_)));
  file_.write(std::as_bytes(std::span(lengths_)));

  Header header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.width = static_cast<std::uint32_t>(width_);
  header.vocabulary = counts_.vocabulary;
  header.tokenizer_hash = counts_.tokenizer_hash;
  header.tokens = counts_.tokens;
  header.documents = counts_.documents;
  header.bytes = counts_.bytes;
  header.hashes[0] = hasher_.value();
  header.hashes[1] = hash_bytes(std::as_bytes(std::span(starts_)));
  header.hashes[2] = hash_bytes(std::as_bytes(std::span(lengths_)));
  header.header_hash = hash_of(header);
  file_.write_at(0, std::as_bytes(std::span(&header, 1)));
  file_.commit();
  return header.header_hash;
}

void TokenShard::damaged(std::string_view what) const {
  fail_input("{}: this token shard is damaged ({}); make it again with lowbit data", map_.path(), what);
}

TokenShard::TokenShard(const std::filesystem::path& path) : map_(path) {
  Header header;
  if (map_.size() < sizeof(kMagic) || std::memcmp(map_.bytes().data(), kMagic, sizeof(kMagic)) != 0)
    fail_input("{}: not a token shard of lowbit; lowbit data makes them", map_.path());
  if (map_.size() < sizeof(Header)) damaged("it ends inside its header");
  std::memcpy(&header, map_.bytes().data(), sizeof(header));
  if (header.version != kVersion && hash_of(header) == header.header_hash)
    fail_input("{}: a token shard of version {}, and this build reads version {}", map_.path(), header.version,
               kVersion);
  if (hash_of(header) != header.header_hash) damaged("its header does not match its hash");
  if ((header.width != 2 && header.width != 4) || header.vocabulary == 0 ||
      header.vocabulary > std::uint64_t{1} << 8 * header.width ||
      std::any_of(std::begin(header.reserved), std::end(header.reserved), [](std::uint64_t x) { return x != 0; }))
    damaged("its header holds values that cannot be");

  // Counts are compared with the file's size before anything is made of them; the divisions keep sums from overflowing.
  const std::uint64_t payload = map_.size() - sizeof(Header);
  if (header.tokens > payload / header.width || header.documents > header.tokens || header.documents > payload / 16)
    damaged(fmt::format("it has {} bytes, too few for the {} tokens of its header: it is cut short", map_.size(),
                        header.tokens));
  const std::uint64_t token_bytes = padded(header.tokens * header.width);
  const std::uint64_t wanted = sizeof(Header) + token_bytes + 16 * header.documents;
  if (map_.size() != wanted) damaged(fmt::format("it has {} bytes where its header says {}", map_.size(), wanted));

  counts_ = {header.vocabulary, header.tokenizer_hash, header.tokens, header.documents, header.bytes};
  width_ = header.width;
  std::copy(std::begin(header.hashes), std::end(header.hashes), hashes_);
  header_hash_ = header.header_hash;
  const std::byte* tokens = map_.bytes().data() + sizeof(Header);
  if (width_ == 2)
    tokens16_ = {reinterpret_cast<const std::uint16_t*>(tokens), header.tokens};
  else
    tokens32_ = {reinterpret_cast<const std::uint32_t*>(tokens), header.tokens};
  const auto* tables = reinterpret_cast<const std::uint64_t*>(tokens + token_bytes);
  starts_ = {tables, header.documents};
  lengths_ = {tables + header.documents, header.documents};
}

void TokenShard::copy(std::uint64_t begin, std::span<std::uint32_t> out) const {
  assert(begin <= tokens() && out.size() <= tokens() - begin);
  if (width_ == 2)
    std::copy_n(tokens16_.begin() + static_cast<std::ptrdiff_t>(begin), out.size(), out.begin());
  else
    std::copy_n(tokens32_.begin() + static_cast<std::ptrdiff_t>(begin), out.size(), out.begin());
}

void TokenShard::verify() const {
  const std::size_t token_bytes = counts_.tokens * width_;
  if (hash_bytes(map_.slice(sizeof(Header), token_bytes)) != hashes_[0]) damaged("its tokens do not match their hash");
  if (hash_bytes(std::as_bytes(starts_)) != hashes_[1]) damaged("its document table does not match its hash");
  if (hash_bytes(std::as_bytes(lengths_)) != hashes_[2]) damaged("its table of document sizes does not match its hash");
  for (const std::byte b : map_.slice(sizeof(Header) + token_bytes, padded(token_bytes) - token_bytes))
    if (b != std::byte{0}) damaged("the padding behind its tokens is not zero");

  // What follows a writer with a fault could get past the hashes.
  const std::uint64_t largest = width_ == 2
                                    ? (tokens16_.empty() ? 0 : *std::max_element(tokens16_.begin(), tokens16_.end()))
                                    : (tokens32_.empty() ? 0 : *std::max_element(tokens32_.begin(), tokens32_.end()));
  if (largest >= counts_.vocabulary)
    damaged(fmt::format("it holds id {}, and the vocabulary has {}", largest, counts_.vocabulary));
  std::uint64_t bytes = 0;
  for (std::uint64_t d = 0; d < counts_.documents; ++d) {
    if (d == 0 ? starts_[0] != 0 : starts_[d] <= starts_[d - 1]) damaged("its documents are out of order");
    if (starts_[d] >= counts_.tokens) damaged("a document begins behind its last token");
    // Sizes that add up only because the sum wraps would hide a document of nearly 2^64 bytes.
    if (lengths_[d] > counts_.bytes - bytes) damaged("the sizes of its documents do not add up");
    bytes += lengths_[d];
  }
  if (bytes != counts_.bytes) damaged("the sizes of its documents do not add up");
}

}  // namespace lowbit::files
