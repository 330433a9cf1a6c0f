#include <algorithm>

#include "lowbit/base/error.h"
#include "lowbit/files/json.h"
#include "lowbit/text/reader.h"

// The documents of JSON lines and of a JSON array.
namespace lowbit::text {
namespace {

/// Takes the text out of a line or element, and builds nothing of the rest: members are many where texts come with the
/// data of a crawl.
class FieldReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  FieldReader(std::string_view field, std::string_view where) : field_(field), where_(where) {}

  enum class Kind { other, object, text } kind = Kind::other;  ///< of the whole value
  std::string_view type;                                       ///< of the whole value, in words
  std::string text;                                            ///< of the field, or the whole value
  bool found = false;                                          ///< the field
  std::string_view field_type;                                 ///< of the field, in words

  bool null() override { return value("null"); }
  bool boolean(bool) override { return value("boolean"); }
  bool number_integer(number_integer_t) override { return value("number"); }
  bool number_unsigned(number_unsigned_t) override { return value("number"); }
  bool number_float(number_float_t, const string_t&) override { return value("number"); }
  bool binary(binary_t&) override { return false; }
  bool string(string_t& given) override {
    if (depth_ == 0) kind = Kind::text;
    if (depth_ == 0 || wanted_) text = std::move(given);
    return value("string");
  }
  bool start_object(std::size_t) override {
    if (depth_ == 0) kind = Kind::object;
    return value("object"), deeper();
  }
  bool start_array(std::size_t) override { return value("array"), deeper(); }
  bool end_object() override { return --depth_, true; }
  bool end_array() override { return --depth_, true; }
  bool key(string_t& name) override {
    wanted_ = depth_ == 1 && kind == Kind::object && name == field_;
    if (wanted_ && found) fail_input("{}: the field '{}' stands twice", where_, field_);
    found |= wanted_;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override { return false; }

 private:
  static constexpr std::size_t kMaxDepth = 64;  // as in files/json.h

  bool value(std::string_view what) {
    if (depth_ == 0) type = what;
    if (wanted_) field_type = what;
    wanted_ = false;
    return true;
  }
  bool deeper() {
    if (++depth_ > kMaxDepth) fail_input("{}: JSON nested more than {} deep", where_, kMaxDepth);
    return true;
  }

  std::string_view field_, where_;
  std::size_t depth_ = 0;
  bool wanted_ = false;  // the next value is the field's
};

}  // namespace

/// piece.text: the field of the object that `json` holds, or, where text_alone, the text that it is.
void TextReader::text_of(std::string_view json, bool text_alone, TextPiece& piece) const {
  check_text(json);
  const std::string where = fmt::format("{}:{}", name_, lines_ + 1);
  // Without a name that says so, the file may be plain text that looks like JSON.
  const std::string_view hint = recognized_ ? "; if the file is plain text, give --input-format text" : "";
  FieldReader value(options_.field, where);
  try {
    if (!nlohmann::json::sax_parse(json, &value)) files::parse_large_json(json, where);  // which says what is wrong
  } catch (const Error& error) {
    throw_error(error.kind(), fmt::format("{}{}", error.what(), hint));
  }
  piece.begins = piece.ends = true;
  if (!(text_alone && value.kind == FieldReader::Kind::text)) {
    if (value.kind != FieldReader::Kind::object)
      fail_input("{}: not a JSON object{} but {}{}", where, text_alone ? " or text" : "", value.type, hint);
    if (!value.found)
      fail_input("{}: no field '{}'; name the one with the text by --field{}", where, options_.field, hint);
    if (value.field_type != "string")
      fail_input("{}: field '{}' is no text but {}", where, options_.field, value.field_type);
  }
  piece.text = std::move(value.text);
}

bool TextReader::next_line(TextPiece& piece) {
  while (true) {
    const std::string_view text = rest();
    const std::size_t newline = text.find('\n', scanned_);
    if (newline == std::string_view::npos && !ended_) {
      scanned_ = text.size();
      fill();
      continue;
    }
    if (text.empty()) return false;
    const std::size_t size = newline == std::string_view::npos ? text.size() : newline;
    const std::string_view line = text.substr(0, size);
    if (size > options_.most_bytes) too_long();
    const bool mark_alone = offset_ == 0 && line == kByteOrderMark;
    const bool blank = mark_alone || line.find_first_not_of(" \t\r") == std::string_view::npos;
    if (!blank) text_of(line, false, piece);
    drop(std::min(size + 1, text.size()));
    scanned_ = 0;
    if (blank) continue;
    if (!piece.text.empty()) return true;
    ++empty_documents_;
  }
}

/// Drops blanks. returns the character behind them, or 0 at the end of the file.
char TextReader::after_blank() {
  while (true) {
    const std::size_t at = rest().find_first_not_of(" \t\r\n");
    drop(std::min(at, rest().size()));
    if (at != std::string_view::npos) return rest()[0];
    if (!fill()) return 0;
  }
}

/// The value that the rest begins with, without a check of what is inside. It stays in the rest.
std::string_view TextReader::element() {
  std::size_t depth = 0, at = 0;
  bool quoted = false, escaped = false;
  while (true) {
    for (const std::string_view text = rest(); at < text.size(); ++at) {
      const char c = text[at];
      if (quoted) {
        if (escaped)
          escaped = false;
        else if (c == '\\')
          escaped = true;
        else if (c == '"' && (quoted = false, depth == 0))
          return text.substr(0, at + 1);
      } else if (c == '"') {
        quoted = true;
      } else if (c == '{' || c == '[') {
        ++depth;
      } else if (c == '}' || c == ']') {
        if (depth == 0) return text.substr(0, at);  // the array's end, behind a number or a word
        if (--depth == 0) return text.substr(0, at + 1);
      } else if (depth == 0 && (c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
        return text.substr(0, at);
      }
    }
    if (!fill())
      fail_input("{}:{}: the JSON array is cut short inside this element; get a whole copy", name_, lines_ + 1);
  }
}

bool TextReader::next_element(TextPiece& piece) {
  while (true) {
    if (offset_ == 0 && rest().starts_with(kByteOrderMark)) drop(kByteOrderMark.size());
    const char c = after_blank();
    const auto wrong = [&](std::string_view wanted) {
      if (c == 0) fail_input("{}: the JSON array is cut short, after line {}; get a whole copy", name_, lines_ + 1);
      fail_input("{}:{}: {} is wanted here in the JSON array{}", name_, lines_ + 1, wanted,
                 recognized_ ? "; if the file is plain text, give --input-format text" : "");
    };
    switch (place_) {
      case Place::before_array:
        if (c != '[') wrong("[");
        place_ = Place::first_element;
        drop(1);
        continue;
      case Place::behind_element:
        if (c != ',' && c != ']') wrong(", or ]");
        place_ = c == ',' ? Place::element : Place::behind_array;
        drop(1);
        continue;
      case Place::behind_array:
        if (c == 0) return false;
        wrong("the end of the file");
        continue;
      case Place::first_element:
        if (c == ']') {
          place_ = Place::behind_array;
          drop(1);
          continue;
        }
        [[fallthrough]];
      case Place::element:
        if (c == 0 || c == ',' || c == ']' || c == '}') wrong("a text or an object");
        break;
    }
    const std::string_view value = element();
    if (value.size() > options_.most_bytes) too_long();
    text_of(value, true, piece);
    drop(value.size());
    place_ = Place::behind_element;
    if (!piece.text.empty()) return true;
    ++empty_documents_;
  }
}

}  // namespace lowbit::text
