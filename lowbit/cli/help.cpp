#include "lowbit/cli/help.h"

#include <memory>
#include <sstream>

namespace lowbit::cli {
namespace {

constexpr std::size_t kFlagColumn = 34, kLineEnd = 110;

class Help final : public CLI::Formatter {
 public:
  Help() { column_width(kFlagColumn); }

  std::string make_option_desc(const CLI::Option* option) const override {
    std::istringstream words(option->get_description());
    std::string text, word;
    std::size_t column = kFlagColumn;
    while (words >> word) {
      const bool first = text.empty();
      if (!first && column + 1 + word.size() > kLineEnd) {
        text += "\n" + std::string(kFlagColumn, ' ');
        column = kFlagColumn;
      } else if (!first) {
        text += ' ';
        ++column;
      }
      text += word;
      column += word.size();
    }
    return text;
  }
};

}  // namespace

void prepare_help(CLI::App& verb) {
  verb.set_help_flag("-h,--help", "print this and stop");
  verb.formatter(std::make_shared<Help>());
  verb.get_formatter()->label("OPTIONS", "flags");
  verb.option_defaults()->always_capture_default();
}

}  // namespace lowbit::cli
