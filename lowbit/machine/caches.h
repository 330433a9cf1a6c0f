#pragma once
#include <cstddef>

namespace lowbit {

/// Bytes of the data caches, 0 for one that is not there or that the system does not tell. First and second are a
/// core's own, the third is shared.
struct CacheSizes {
  std::size_t l1 = 0, l2 = 0, l3 = 0;
  friend bool operator==(const CacheSizes&, const CacheSizes&) = default;
};
/// From /sys/devices/system/cpu; where that says nothing, from sysconf (which in virtual machines may tell of caches
/// that are shared with others).
CacheSizes cache_sizes();

}  // namespace lowbit
