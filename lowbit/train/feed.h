#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "lowbit/files/token_shard.h"

namespace lowbit::train {

/// Windows of seq + 1 tokens, one after another; window i is a function of i alone, so a run's place in its data is one
/// number. ids and targets: [seq] each, targets one token on.
class Feed {
 public:
  virtual ~Feed() = default;
  virtual void window(std::uint64_t index, std::span<std::int32_t> ids, std::span<std::int32_t> targets) const = 0;
  /// How many windows there are before the first comes again (raw batches: before they end).
  virtual std::uint64_t windows() const = 0;
  virtual bool repeats() const = 0;
};

/// A token shard, cut into windows that share only their ends, in an order drawn anew each epoch from (seed, shuffle,
/// epoch), beginning each epoch at an offset drawn from (seed, offset, epoch), as the published code of QuEST does.
/// throws Error(input): fewer tokens than one window.
std::unique_ptr<Feed> shard_feed(const files::TokenShard& shard, std::int64_t seq, std::uint64_t seed);

/// A raw file of uint16 little-endian windows [n, seq + 1], taken in order.
/// throws Error(input): a size that is no whole number of windows, an id outside the vocabulary.
std::unique_ptr<Feed> batches_feed(const std::filesystem::path& file, std::int64_t seq, std::int64_t vocab);

}  // namespace lowbit::train
