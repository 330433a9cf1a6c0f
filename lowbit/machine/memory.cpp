#include "lowbit/machine/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <new>
#include <sstream>
#include <string>
#include <utility>

#include "lowbit/base/granted.h"

namespace lowbit {
namespace {

constexpr std::size_t kLargePage = std::size_t{2} << 20;

double available_in_meminfo(const std::filesystem::path& root) {
  std::ifstream file(root / "proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("MemAvailable:")) {
      std::istringstream words(line.substr(13));
      double kilobytes = 0;
      words >> kilobytes;
      return kilobytes * 1024;
    }
  return std::numeric_limits<double>::infinity();
}

}  // namespace

std::int64_t available_memory(const std::filesystem::path& root) {
  const double bytes = std::min(available_in_meminfo(root), granted_by_control_groups(root).memory_left);
  return bytes < 9e18 ? static_cast<std::int64_t>(bytes) : std::numeric_limits<std::int64_t>::max();
}

LargePages::LargePages(std::size_t bytes) : size_(bytes) {
  const std::size_t rounded = (bytes + kLargePage - 1) / kLargePage * kLargePage;
  data_ = static_cast<std::byte*>(std::aligned_alloc(kLargePage, rounded));
  if (!data_) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
  madvise(data_, rounded, MADV_HUGEPAGE);  // a wish; small pages do as well, only slower
#endif
}

LargePages::~LargePages() { std::free(data_); }

LargePages::LargePages(LargePages&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

LargePages& LargePages::operator=(LargePages&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace lowbit
