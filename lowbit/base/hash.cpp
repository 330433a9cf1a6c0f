#include "lowbit/base/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace lowbit {

struct Hasher::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

std::uint64_t hash_bytes(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }
std::string hash_text(std::uint64_t hash) { return fmt::format("{:016x}", hash); }

Hasher::Hasher() : state_(std::make_unique<State>()) {
  if (!state_->xxh) throw std::bad_alloc();
  XXH3_64bits_reset(state_->xxh);
}
Hasher::~Hasher() = default;
void Hasher::add(std::span<const std::byte> bytes) { XXH3_64bits_update(state_->xxh, bytes.data(), bytes.size()); }
std::uint64_t Hasher::value() const { return XXH3_64bits_digest(state_->xxh); }

}  // namespace lowbit
