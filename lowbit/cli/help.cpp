#include "lowbit/cli/help.h"

#include <fmt/format.h>

#include <memory>
#include <sstream>

namespace lowbit::cli {
namespace {

constexpr std::size_t kFlagColumn = 28, kLineEnd = 100;

/// What stands behind a flag: "N", with what it may be, "1 to 1000" (flags.cpp writes both into CLI11's type name).
struct Type {
  std::string name, allowed;
  explicit Type(const CLI::Option& option) {
    if (option.get_type_size() == 0) return;
    const std::string text = option.get_type_name();
    const std::size_t colon = text.find(':');
    name = text.substr(0, colon);
    if (colon != std::string::npos) allowed = text.substr(colon + 1);
    if (option.get_expected_max() == CLI::detail::expected_max_vector_size) name += "...";
  }
};

std::string name_of(const CLI::Option& option, bool positional) {
  std::string name = positional ? option.get_name(true, false) : option.get_name(false, true);
  // What a name that means "not" stands for.
  if (const std::size_t at = name.find("{false}"); at != std::string::npos) name.erase(at);
  return name;
}

std::string standard_of(const CLI::Option& option) {
  const std::string text = option.get_type_size() == 0 ? std::string{} : option.get_default_str();
  return text == "[]" || text == "{}" ? std::string{} : text;
}

/// The summary of a verb, which a list shows as a fragment, as a sentence.
std::string sentence(const CLI::App& app) {
  std::string text = app.get_description();
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text + ".";
}

/// CLI11 indents what follows a line break.
std::string wrapped(const std::string& text, std::size_t indent) {
  std::istringstream words(text);
  std::string out, word;
  std::size_t column = indent;
  while (words >> word) {
    if (!out.empty()) {
      const bool fits = column + 1 + word.size() <= kLineEnd;
      out += fits ? ' ' : '\n';
      column = fits ? column + 1 : indent;
    }
    out += word;
    column += word.size();
  }
  return out;
}

class Help final : public CLI::Formatter {
 public:
  Help() {
    column_width(kFlagColumn);
    label("OPTIONS", "flags");
    label("Positionals", "Arguments");
    label("SUBCOMMAND", "VERB");
    label("SUBCOMMANDS", "VERB");
    label("Subcommands", "Verbs");
    label("Options", "Flags");
  }

  std::string make_group(std::string group, bool positional, std::vector<const CLI::Option*> options) const override {
    return CLI::Formatter::make_group(get_label(group), positional, std::move(options));
  }

  std::string make_description(const CLI::App* app) const override { return wrapped(sentence(*app), 0) + "\n\n"; }

  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    std::string text = CLI::Formatter::make_help(app, std::move(name), mode);
    for (std::size_t at; (at = text.find("\n\n\n")) != std::string::npos;) text.erase(at, 1);
    while (text.ends_with("\n\n")) text.pop_back();
    return text;
  }

  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    return name_of(*option, positional);
  }

  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string name = Type(*option).name;
    return name.empty() ? name : " " + name;
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    std::string note;
    const auto add = [&](const std::string& part) { note += (note.empty() ? "" : "; ") + part; };
    if (const std::string allowed = Type(*option).allowed; !allowed.empty()) add(allowed);
    if (const std::string standard = standard_of(*option); !standard.empty()) add("default: " + standard);
    if (option->get_required()) add("required");
    return wrapped(option->get_description() + (note.empty() ? "" : " (" + note + ")"), kFlagColumn);
  }
};

std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '|' ? "\\|" : c == '<' ? "&lt;" : std::string(1, c);
  return out;
}

std::string row(const CLI::Option& option) {
  const Type type(option);
  std::string name = name_of(option, option.get_positional()), value = type.name, standard = standard_of(option);
  std::string code;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t comma = std::min(name.find(',', at), name.size());
    code += (code.empty() ? "`" : ", `") + name.substr(at, comma - at) + "`";
    at = comma + 1;
  }
  if (!type.allowed.empty()) value += ": " + type.allowed;
  if (option.get_required()) standard = "required";
  return fmt::format("| {} | {} | {} | {} |\n", code, cell(value), cell(standard), cell(option.get_description()));
}

void section(std::string& out, const CLI::App& app, const std::string& name) {
  const auto subs = app.get_subcommands([](const CLI::App*) { return true; });
  std::string usage = name + (subs.empty() ? " [flags]" : " VERB [flags]");
  for (const CLI::Option* option : app.get_options())
    if (option->get_positional())
      usage += " " + option->get_name(true) + (Type(*option).name.ends_with("...") ? "..." : "");
  out += fmt::format("## {}\n\n{}\n\n```\n{}\n```\n", name, sentence(app), usage);
  for (const std::string& group : app.get_groups()) {
    std::string rows;
    for (const CLI::Option* option : app.get_options())
      if (option->get_group() == group) rows += row(*option);
    if (group.empty() || rows.empty()) continue;
    out += fmt::format("\n{}\n\n| flag | value | default | meaning |\n|---|---|---|---|\n{}",
                       group == "Options" ? "Flags:" : group + ":", rows);
  }
  for (const CLI::App* sub : subs) {
    out += "\n";
    section(out, *sub, name + " " + sub->get_name());
  }
}

}  // namespace

void prepare_help(CLI::App& verb) {
  verb.set_help_flag("-h,--help", "print this help and stop");
  verb.formatter(std::make_shared<Help>());
  verb.option_defaults()->always_capture_default();
}

std::string help_as_markdown(const CLI::App& verb, const std::string& name) {
  std::string out;
  section(out, verb, name);
  return out;
}

}  // namespace lowbit::cli
