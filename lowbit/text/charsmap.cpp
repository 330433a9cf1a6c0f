#include "lowbit/text/charsmap.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lowbit/base/error.h"
#include "lowbit/base/utf8.h"

namespace lowbit::text {
namespace {

constexpr int kLongestKey = 256;  // bytes that are replaced at once; the largest tables in use have some dozens
constexpr int kMostMatches = 32;  // the size of the library's array

/// darts-clone's unit: bits 0 to 7 and 31 the label (31: the unit is a value), 8 whether a value hangs below, 9 and 10
/// to 30 how far the children lie.
struct Unit {
  std::uint32_t bits;
  bool has_value() const { return bits >> 8 & 1; }
  std::uint32_t value() const { return bits & 0x7FFFFFFF; }
  std::uint32_t label() const { return bits & 0x800000FF; }
  std::uint32_t offset() const { return bits >> 10 << ((bits & 0x200) >> 6); }
};

class Checker {
 public:
  Checker(std::string_view trie, std::string_view replacements, std::string_view where)
      : units_(trie.size() / sizeof(Unit)),
        matches_(units_.size(), kUnseen),
        replacements_(replacements),
        where_(where) {
    std::memcpy(units_.data(), trie.data(), units_.size() * sizeof(Unit));
  }
  void check() { visit(0, 0); }

 private:
  static constexpr int kUnseen = -1, kOpen = -2;

  [[noreturn]] void damaged(std::string_view what) const {
    fail_input("{}: the table of replacements (precompiled_charsmap) is damaged: {}", where_, what);
  }

  /// The most matches on a path from the unit at `at` down.
  int visit(std::uint32_t at, int depth) {
    if (matches_[at] == kOpen || depth > kLongestKey) damaged("a path that does not end");
    if (matches_[at] != kUnseen) return matches_[at];
    matches_[at] = kOpen;
    const Unit unit = units_[at];
    const std::uint32_t base = at ^ unit.offset();
    // Any byte may follow in the text, so the whole block of 256 must be there.
    if ((base | 0xFF) >= units_.size()) damaged("a path that leaves it");
    int below = 0;
    for (std::uint32_t byte = 0; byte < 256; ++byte)
      if (units_[base ^ byte].label() == byte && (base ^ byte) != at)
        below = std::max(below, visit(base ^ byte, depth + 1));
    if (unit.has_value()) {
      const std::uint32_t value = units_[base].value();
      if (value >= replacements_.size() || continues_utf8(replacements_[value]))
        damaged("a replacement that is not there");
      ++below;
    }
    if (below > kMostMatches) damaged("more than 32 matches at one place");
    return matches_[at] = below;
  }

  std::vector<Unit> units_;
  std::vector<int> matches_;
  std::string_view replacements_, where_;
};

}  // namespace

void check_charsmap(std::string_view table, std::string_view where) {
  std::uint32_t size = 0;
  if (table.size() < sizeof(size))
    fail_input("{}: the table of replacements (precompiled_charsmap) is cut short", where);
  std::memcpy(&size, table.data(), sizeof(size));
  table.remove_prefix(sizeof(size));
  if (size % 1024 != 0 || size == 0 || size >= table.size())
    fail_input("{}: the table of replacements (precompiled_charsmap) has a trie of {} bytes in {}; it is damaged",
               where, size, table.size());
  const std::string_view replacements = table.substr(size);
  if (replacements.back() != '\0' || first_invalid_utf8(replacements) != std::string_view::npos)
    fail_input("{}: the replacements of its table (precompiled_charsmap) are not UTF-8 that ends with a zero", where);
  Checker(table.substr(0, size), replacements, where).check();
}

}  // namespace lowbit::text
