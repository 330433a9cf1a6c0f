#include "lowbit/text/reader.h"

#include <algorithm>
#include <cassert>
#include <system_error>
#include <utility>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/utf8.h"

namespace lowbit::text {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 18;
constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

}  // namespace

std::size_t cut_at_line_or_space(std::string_view text) {
  const std::size_t newline = text.rfind('\n');
  if (newline != std::string_view::npos) return newline + 1;
  const std::size_t space = text.rfind(' ');
  return space == std::string_view::npos ? 0 : space;
}

TextReader::TextReader(std::vector<std::filesystem::path> files, ReadOptions options, Cutter cutter)
    : files_(std::move(files)), options_(std::move(options)), cutter_(std::move(cutter)) {
  if (files_.empty()) fail_usage("no text files given; name them with --in");
  if (options_.document_line.find('\n') != std::string::npos)
    fail_usage("--document-line is one line; take out the line end");
  bool pipes = false;
  for (const auto& file : files_) {
    std::error_code error;
    if (std::filesystem::is_regular_file(file, error))
      total_ += std::filesystem::file_size(file, error);
    else
      pipes = true;
  }
  if (pipes) total_ = 0;
}

void TextReader::open_next() {
  const std::filesystem::path& path = files_[file_];
  name_ = path.string();
  stream_ = open_bytes(path);
  ended_ = false;
  buffer_.clear();
  begin_ = scanned_ = 0;
  try_cut_at_ = kPieceBytes;
  line_start_ = true;
  in_document_ = false;
  offset_ = lines_ = 0;
  place_ = Place::before_array;
  fill();
  recognized_ = options_.layout == TextLayout::recognize;
  layout_ =
      recognized_ ? recognize_layout(rest(), rest().size() < kReadBytes, unpacked_name(path), name_) : options_.layout;
}

void TextReader::too_long() const {
  if (layout_ == TextLayout::plain)
    fail_input(
        "{}: more than {} from byte {} (line {}) on without a place to cut the text; is it text? Separate documents by "
        "--document-line, or allow more by --max-line",
        name_, human_bytes(static_cast<double>(options_.most_bytes)), offset_, lines_ + 1);
  fail_input("{}:{}: this {} has more than {}; allow more by --max-line", name_, lines_ + 1,
             layout_ == TextLayout::json_lines ? "line" : "element",
             human_bytes(static_cast<double>(options_.most_bytes)));
}

/// Reads on; false at the end of the file.
bool TextReader::fill() {
  if (ended_) return false;
  check_interrupt("stopped while reading text; nothing was written");
  // Pieces of a few megabytes are what reading works with, however low the limit.
  if (rest().size() > std::max<std::uint64_t>(options_.most_bytes, layout_ == TextLayout::plain ? 2 * kPieceBytes : 0))
    too_long();
  buffer_.erase(0, std::exchange(begin_, 0));
  const std::size_t size = buffer_.size();
  buffer_.resize(size + kReadBytes);
  const std::size_t got = stream_->read(std::span(buffer_).subspan(size));
  buffer_.resize(size + got);
  ended_ = got == 0;
  if (ended_ && offset_ == 0 && size == 0) fail_input("{} unpacks to nothing", name_);
  return !ended_;
}

bool TextReader::next(TextPiece& piece) {
  while (true) {
    if (!stream_) {
      if (file_ == files_.size()) return false;
      open_next();
    }
    if (layout_ == TextLayout::plain        ? next_plain(piece)
        : layout_ == TextLayout::json_lines ? next_line(piece)
                                            : next_element(piece)) {
      piece.where = name_;
      return true;
    }
    consumed_before_ += stream_->consumed();
    stream_.reset();
    ++file_;
  }
}

void TextReader::check_text(std::string_view text) const {
  const std::size_t at = first_invalid_utf8(text);
  if (at == std::string_view::npos) return;
  const auto line =
      lines_ + 1 +
      static_cast<std::uint64_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
  fail_input(
      "{}: byte {} (line {}, 0x{:02x}) is not UTF-8; convert the text, for example with iconv -f WINDOWS-1252 -t UTF-8",
      name_, offset_ + at, line, static_cast<unsigned char>(text[at]));
}

void TextReader::drop(std::size_t size) {
  const std::string_view dropped = rest().substr(0, size);
  lines_ += static_cast<std::uint64_t>(std::count(dropped.begin(), dropped.end(), '\n'));
  if (size > 0) line_start_ = dropped.back() == '\n';
  offset_ += size;
  begin_ += size;
  scanned_ -= std::min(scanned_, size);
  try_cut_at_ = kPieceBytes;
}

void TextReader::take(TextPiece& piece, std::size_t size, bool ends) {
  piece.text = rest().substr(0, size);
  check_text(piece.text);
  piece.begins = !in_document_;
  piece.ends = ends;
  in_document_ = !ends;
  drop(size);
}

/// Looks for a document line from scanned_ on: where it begins, and where the text goes on after it. What is not
/// decided yet, since the buffer ends too early, stays unscanned.
bool TextReader::find_document_line(std::size_t& at, std::size_t& after) {
  const std::string& line = options_.document_line;
  const std::string_view text = rest();
  if (line.empty()) {
    scanned_ = text.size();
    return false;
  }
  while (true) {
    const std::size_t found = text.find(line, scanned_);
    if (found == std::string::npos) {
      // It may have begun at the end of what is there.
      const std::size_t open = ended_ ? 0 : line.size() - 1;
      scanned_ = std::max(scanned_, text.size() - std::min(open, text.size()));
      return false;
    }
    scanned_ = found;
    const bool begins_line = found == 0 ? line_start_ : text[found - 1] == '\n';
    std::size_t end = found + line.size();
    if (begins_line) {
      if (!ended_ && text.size() - end < 2) return false;
      if (end == text.size()) return at = found, after = end, true;
      if (text[end] == '\r' && end + 1 < text.size() && text[end + 1] == '\n') ++end;
      if (text[end] == '\n') return at = found, after = end + 1, true;
    }
    scanned_ = found + 1;
  }
}

bool TextReader::next_plain(TextPiece& piece) {
  while (true) {
    std::size_t at = 0, after = 0;
    if (find_document_line(at, after)) {
      const bool empty = at == 0 && !in_document_;
      if (!empty) take(piece, at, true);
      drop(after - at);
      scanned_ = 0;
      if (!empty) return true;
      ++empty_documents_;
      continue;
    }
    if (ended_) {
      if (rest().empty() && !in_document_) return false;
      take(piece, rest().size(), true);
      return true;
    }
    // A piece ends where no document line can begin before it.
    if (scanned_ >= try_cut_at_) {
      const std::size_t cut = cutter_(rest().substr(0, scanned_));
      if (cut > 0) {
        take(piece, cut, false);
        return true;
      }
      try_cut_at_ = 2 * scanned_;
    }
    fill();
  }
}

}  // namespace lowbit::text
