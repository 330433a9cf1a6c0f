#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace lowbit {

/// XXH3-64 of some bytes: detects a changed or cut file; it is no protection against malice.
std::uint64_t hash_bytes(std::span<const std::byte> bytes);
/// As 16 lower-case hexadecimal digits.
std::string hash_text(std::uint64_t hash);

/// XXH3-64 of bytes that come in pieces.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  void add(std::span<const std::byte> bytes);
  std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lowbit
