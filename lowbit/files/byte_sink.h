#pragma once
#include <cstddef>
#include <functional>
#include <span>

namespace lowbit::files {

/// Takes the bytes of a file in order, piece by piece: an AtomicFile, a hash, a buffer, several at once.
using ByteSink = std::function<void(std::span<const std::byte>)>;
/// Gives the bytes of a file, or of one tensor, to a sink.
using ByteSource = std::function<void(const ByteSink&)>;

}  // namespace lowbit::files
