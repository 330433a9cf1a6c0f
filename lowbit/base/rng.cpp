#include "lowbit/base/rng.h"

#include <bit>

#include "lowbit/base/math.h"

namespace lowbit {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<std::uint32_t>(p0)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return c;
}

// Counter: block (64 bits), step (32 bits), use (8 bits) and the step's high 24 bits. Steps stay below 2^56.
std::array<std::uint32_t, 4> Rng::block(std::uint64_t block) const {
  return philox4x32({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                     static_cast<std::uint32_t>(step_),
                     static_cast<std::uint32_t>(use_) | static_cast<std::uint32_t>(step_ >> 32) << 8},
                    {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)});
}

std::uint64_t Rng::bits(std::uint64_t index) const {
  const auto words = block(index / 2);
  const std::size_t half = 2 * (index % 2);
  return words[half] | std::uint64_t{words[half + 1]} << 32;
}

double Rng::uniform(std::uint64_t index) const { return static_cast<double>(bits(index) >> 11) * 0x1p-53; }

std::uint64_t Rng::below(std::uint64_t index, std::uint64_t bound) const {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<Wide>(bits(index)) * bound) >> 64);
}

double Rng::normal(std::uint64_t index) const {
  const auto words = block(index);
  const std::uint64_t a = words[0] | std::uint64_t{words[1]} << 32;
  const std::uint64_t b = words[2] | std::uint64_t{words[3]} << 32;
  const double u = (static_cast<double>(a >> 11) + 1) * 0x1p-53;  // (0, 1], so the log is finite
  const double v = static_cast<double>(b >> 11) * 0x1p-53;
  return __builtin_sqrt(-2 * math::log(u)) * math::cos(6.283185307179586 * v);
}

std::uint64_t permute(const Rng& rng, std::uint64_t i, std::uint64_t n) {
  const int bits = std::bit_width(n > 1 ? n - 1 : std::uint64_t{1});
  const int half = (bits + 1) / 2;
  const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  do {
    std::uint64_t left = i >> half, right = i & mask;
    for (std::uint64_t round = 0; round < 6; ++round) {
      const std::uint64_t mixed = left ^ (rng.block(round << 32 | right)[0] & mask);
      left = right;
      right = mixed;
    }
    i = left << half | right;
  } while (i >= n);
  return i;
}

}  // namespace lowbit
