#include "lowbit/machine/caches.h"

#include <unistd.h>

#include <fstream>
#include <string>

namespace lowbit {
namespace {

std::string word_in(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

/// "32K", "16M".
std::size_t bytes_of(const std::string& text) {
  std::size_t bytes = 0;
  for (const char c : text) {
    if (c >= '0' && c <= '9') bytes = 10 * bytes + static_cast<std::size_t>(c - '0');
    if (c == 'K') bytes <<= 10;
    if (c == 'M') bytes <<= 20;
  }
  return bytes;
}

std::size_t told_by_sysconf(int name) {
  const long bytes = sysconf(name);
  return bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

}  // namespace

CacheSizes cache_sizes() {
  CacheSizes sizes;
  for (int index = 0; index < 8; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    if (word_in(folder + "type") == "Instruction") continue;
    const std::string level = word_in(folder + "level");
    if (level.empty()) break;
    (level == "1" ? sizes.l1 : level == "2" ? sizes.l2 : sizes.l3) = bytes_of(word_in(folder + "size"));
  }
#if defined(_SC_LEVEL1_DCACHE_SIZE)
  if (sizes.l1 == 0)
    sizes = {told_by_sysconf(_SC_LEVEL1_DCACHE_SIZE), told_by_sysconf(_SC_LEVEL2_CACHE_SIZE),
             told_by_sysconf(_SC_LEVEL3_CACHE_SIZE)};
#endif
  return sizes;
}

}  // namespace lowbit
