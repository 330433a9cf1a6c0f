#include "lowbit/train/feed.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/rng.h"

namespace lowbit::train {
namespace {

class ShardFeed final : public Feed {
 public:
  ShardFeed(const files::TokenShard& shard, std::int64_t seq, std::uint64_t seed)
      : shard_(shard), seq_(static_cast<std::uint64_t>(seq)), seed_(seed) {
    if (shard.tokens() < seq_ + 1)
      fail_input("{} holds {} tokens, fewer than one window of {} + 1; use more text or a shorter --seq", shard.path(),
                 shard.tokens(), seq_);
    const std::uint64_t most = (shard.tokens() - 1) / seq_;
    // With windows to spare one is given up, so that every epoch may begin anywhere in the first window.
    windows_ = most >= 8 ? most - 1 : most;
    offsets_ = std::min(seq_, shard.tokens() - windows_ * seq_);
  }

  void window(std::uint64_t index, std::span<std::int32_t> ids, std::span<std::int32_t> targets) const override {
    assert(ids.size() == seq_ && targets.size() == seq_);
    const std::uint64_t epoch = index / windows_;
    const std::uint64_t place = permute(Rng(seed_, RandomUse::shuffle, epoch), index % windows_, windows_);
    const std::uint64_t offset = Rng(seed_, RandomUse::offset, epoch).below(0, offsets_);
    const std::uint64_t begin = offset + place * seq_;
    for (std::uint64_t i = 0; i < seq_; ++i) {
      ids[i] = static_cast<std::int32_t>(shard_.token(begin + i));
      targets[i] = static_cast<std::int32_t>(shard_.token(begin + i + 1));
    }
  }
  std::uint64_t windows() const override { return windows_; }
  bool repeats() const override { return true; }

 private:
  const files::TokenShard& shard_;
  std::uint64_t seq_, seed_, windows_, offsets_;
};

class BatchesFeed final : public Feed {
 public:
  BatchesFeed(const std::filesystem::path& file, std::int64_t seq, std::int64_t vocab)
      : map_(file), seq_(static_cast<std::uint64_t>(seq)) {
    const std::uint64_t window_bytes = 2 * (seq_ + 1);
    if (map_.size() % window_bytes != 0)
      fail_input(
          "{} has {} bytes, which is no whole number of uint16 windows of {} + 1 tokens; is it cut short, or --seq "
          "wrong?",
          map_.path(), map_.size(), seq_);
    windows_ = map_.size() / window_bytes;
    for (std::uint64_t i = 0; i < map_.size() / 2; ++i)
      if (token(i) >= vocab)
        fail_input("{}: token {} has the id {}, outside the vocabulary of {}", map_.path(), i, token(i), vocab);
  }

  void window(std::uint64_t index, std::span<std::int32_t> ids, std::span<std::int32_t> targets) const override {
    assert(index < windows_ && ids.size() == seq_ && targets.size() == seq_);
    for (std::uint64_t i = 0; i < seq_; ++i) {
      ids[i] = token(index * (seq_ + 1) + i);
      targets[i] = token(index * (seq_ + 1) + i + 1);
    }
  }
  std::uint64_t windows() const override { return windows_; }
  bool repeats() const override { return false; }

 private:
  std::int32_t token(std::uint64_t i) const {
    const auto bytes = map_.bytes();
    return std::to_integer<std::int32_t>(bytes[2 * i]) | std::to_integer<std::int32_t>(bytes[2 * i + 1]) << 8;
  }
  FileMap map_;
  std::uint64_t seq_, windows_ = 0;
};

}  // namespace

std::unique_ptr<Feed> shard_feed(const files::TokenShard& shard, std::int64_t seq, std::uint64_t seed) {
  return std::make_unique<ShardFeed>(shard, seq, seed);
}

std::unique_ptr<Feed> batches_feed(const std::filesystem::path& file, std::int64_t seq, std::int64_t vocab) {
  return std::make_unique<BatchesFeed>(file, seq, vocab);
}

}  // namespace lowbit::train
