#include "lowbit/cli/help.h"

#include <memory>
#include <sstream>

namespace lowbit::cli {
namespace {

constexpr std::size_t kFlagColumn = 26, kLineEnd = 110;

/// CLI11 appends what a check allows to the type: "INT:INT in [1 - 1000]", "TEXT:{a,b}". The type stays beside the
/// flag; the rest is told with the description.
struct Type {
  std::string name, allowed;
  explicit Type(std::string text) {
    const std::size_t colon = text.find(':');
    name = text.substr(0, colon);
    if (colon == std::string::npos) return;
    allowed = text.substr(colon + 1);
    const std::size_t in = allowed.find(" in [");
    if (in == std::string::npos || !allowed.ends_with("]")) return;
    allowed = allowed.substr(in + 5, allowed.size() - in - 6);
    if (const std::size_t dash = allowed.find(" - "); dash != std::string::npos) allowed.replace(dash, 3, " to ");
  }
};

class Help final : public CLI::Formatter {
 public:
  Help() {
    column_width(kFlagColumn);
    label("OPTIONS", "flags");
    label("Positionals", "Arguments");
    label("SUBCOMMAND", "VERB");
    label("Options", "Flags");
  }

  std::string make_group(std::string group, bool positional, std::vector<const CLI::Option*> options) const override {
    return CLI::Formatter::make_group(get_label(group), positional, std::move(options));
  }

  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    std::string name = CLI::Formatter::make_option_name(option, positional);
    // What a name that means "not" stands for.
    if (const std::size_t at = name.find("{false}"); at != std::string::npos) name.erase(at);
    return name;
  }

  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_size() == 0) return {};
    std::string text = " " + Type(option->get_type_name()).name;
    if (option->get_expected_max() == CLI::detail::expected_max_vector_size) text += "...";
    return text;
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    std::string text = option->get_description();
    if (option->get_type_size() != 0) {
      const std::string standard = option->get_default_str();
      std::string note;
      const auto add = [&](const std::string& part) { note += (note.empty() ? "" : "; ") + part; };
      if (const std::string allowed = Type(option->get_type_name()).allowed; !allowed.empty()) add(allowed);
      // 0 mostly stands for "not given"; where it means something the description says so, as it may of any default.
      const bool worth_telling = !standard.empty() && standard != "[]" && standard != "{}" && standard != "0";
      if (worth_telling && text.find("default") == std::string::npos) add("default " + standard);
      if (option->get_required()) add("required");
      if (!note.empty()) text += " (" + note + ")";
    }
    return wrapped(text);
  }

 private:
  /// CLI11 indents what follows a line break.
  static std::string wrapped(const std::string& text) {
    std::istringstream words(text);
    std::string out, word;
    std::size_t column = kFlagColumn;
    while (words >> word) {
      if (!out.empty()) {
        const bool fits = column + 1 + word.size() <= kLineEnd;
        out += fits ? ' ' : '\n';
        column = fits ? column + 1 : kFlagColumn;
      }
      out += word;
      column += word.size();
    }
    return out;
  }
};

}  // namespace

void prepare_help(CLI::App& verb) {
  verb.set_help_flag("-h,--help", "print this and stop");
  verb.formatter(std::make_shared<Help>());
  verb.option_defaults()->always_capture_default();
}

}  // namespace lowbit::cli
