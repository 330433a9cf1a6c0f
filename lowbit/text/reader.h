#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lowbit/text/byte_stream.h"
#include "lowbit/text/text_layout.h"

namespace lowbit::text {

struct ReadOptions {
  std::string field = "text";  ///< of JSON objects: where the text stands
  std::string document_line;   ///< in plain text: a line that separates documents, such as <|endoftext|>; "": none
  TextLayout layout = TextLayout::recognize;
  /// The longest line or element of JSON, and stretch of plain text without a place to cut it, in bytes. A small
  /// archive may unfold to one line of gigabytes.
  std::uint64_t most_bytes = std::uint64_t{64} << 20;
};

/// A stretch of one document; the stretches of a document follow one another.
struct TextPiece {
  std::string text;
  bool begins = false;  ///< the document begins with it
  bool ends = false;    ///< and ends with it; its text may be empty then
  std::string where;    ///< file of the document, for messages
};

/// Where a long document may be cut: the largest such place in a text, 0 when there is none (Tokenizer::last_cut).
using Cutter = std::function<std::size_t(std::string_view)>;
/// After the last line end, or before the last word.
std::size_t cut_at_line_or_space(std::string_view text);

/// The documents of text files, in order, in pieces of about a megabyte (longer only where the cutter finds no place).
///
/// Files may be packed (byte_stream.h). What they hold is recognized by their first bytes (text_layout.h). Of JSON
/// lines every line is an object and its field a document; of a JSON array every element is a document, a text or an
/// object with the field. Plain text is one document a file, or several when a document line is given: that line, with
/// its line end (\n or \r\n), stands between documents and belongs to none. Plain text is passed on as it is: \r\n,
/// U+FEFF and control characters stay. Documents without a byte are left out and counted.
class TextReader {
 public:
  /// throws Error(usage): no files.
  TextReader(std::vector<std::filesystem::path> files, ReadOptions options, Cutter cutter = cut_at_line_or_space);

  /// The next piece, or false at the end. throws Error(input): what open_bytes and ByteStream throw; bytes that are not
  /// UTF-8 (file, byte offset, line); a bad JSON line (file, line); more than most_bytes of one line. Interrupted.
  bool next(TextPiece& piece);

  /// Bytes of the files (packed ones) read so far and in all, for progress; 0 in all when a file is a pipe.
  std::uint64_t consumed() const { return consumed_before_ + (stream_ ? stream_->consumed() : 0); }
  std::uint64_t total() const { return total_; }
  std::uint64_t empty_documents() const { return empty_documents_; }

 private:
  bool next_plain(TextPiece& piece);
  bool next_line(TextPiece& piece);
  bool next_element(TextPiece& piece);
  std::string_view element();
  char after_blank();
  void text_of(std::string_view json, bool text_alone, TextPiece& piece) const;
  [[noreturn]] void too_long() const;
  bool fill();
  bool find_document_line(std::size_t& at, std::size_t& after);
  void take(TextPiece& piece, std::size_t size, bool ends);
  void drop(std::size_t size);
  void check_text(std::string_view text) const;
  void open_next();

  std::vector<std::filesystem::path> files_;
  ReadOptions options_;
  Cutter cutter_;
  std::size_t file_ = 0;
  std::unique_ptr<ByteStream> stream_;
  TextLayout layout_ = TextLayout::plain;
  bool recognized_ = false;  // by content; a user may know better
  bool ended_ = false;
  enum class Place { before_array, first_element, element, behind_element, behind_array } place_ = Place::before_array;
  std::string name_;

  std::string_view rest() const { return std::string_view(buffer_).substr(begin_); }

  std::string buffer_;  // read; from begin_ on not yet given out ("the rest")
  std::size_t begin_ = 0;
  std::size_t scanned_ = 0;     // of the rest, without a document line or line end
  std::size_t try_cut_at_ = 0;  // size at which to look for a cut again
  bool line_start_ = true;      // the rest begins a line
  bool in_document_ = false;    // a piece of the current document was given out
  std::uint64_t offset_ = 0;    // of the rest in the unpacked file
  std::uint64_t lines_ = 0;     // line ends before the rest

  std::uint64_t consumed_before_ = 0, total_ = 0, empty_documents_ = 0;
};

}  // namespace lowbit::text
