#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/text/reader.h"

namespace lowbit::text {

/// Which part of a text is held out, decided before it is encoded and by counter-based draws alone, so that it depends
/// on the documents, the share and the seed, and on nothing else.
///
/// - Many documents (20 or more of them expected to be held out): each is held out with probability `share`, by
///   Rng(seed, RandomUse::split).uniform(index).
/// - Fewer: documents in the order of Rng(seed, RandomUse::split).bits(index) are taken as they fit, until 3/4 to
///   5/4 of the share are held out.
/// - Where no set of documents comes so near (one file, a few books): the last `share` of every document, cut at the
///   first line end behind (1 - share) of it; in a document without one there, before a word of its last piece, else
///   between characters.
class Split {
 public:
  /// A stretch of one document of one side. begins: the (cut) document begins with it.
  using Sink = std::function<void(std::string_view text, bool begins, bool held_out)>;

  /// Nothing is held out (the held-out text comes from files of its own).
  Split() = default;
  /// Reads the documents once, or until there are many. share in (0, 0.5].
  /// progress: called now and then with the bytes read so far.
  /// throws Error(input): what TextReader throws; no document at all.
  static Split plan(TextReader reader, double share, std::uint64_t seed,
                    const std::function<void(std::uint64_t)>& progress);

  /// Passes a document's pieces on, in the order of the reader.
  void route(const TextPiece& piece, const Sink& sink);
  /// What was decided, in words.
  const std::string& description() const { return description_; }

 private:
  enum class Mode { none, draw, chosen, tails };
  void route_tail(const TextPiece& piece, const Sink& sink);

  Mode mode_ = Mode::none;
  double share_ = 0;
  std::uint64_t seed_ = 0;
  std::vector<std::uint64_t> sizes_;  // tails: bytes of each document
  std::vector<bool> held_;            // chosen
  std::string description_ = "held-out text from files of its own";

  std::uint64_t document_ = 0;  // of the next piece
  std::uint64_t offset_ = 0;    // of the next piece in its document
  bool in_tail_ = false, tail_begins_ = false;
};

}  // namespace lowbit::text
