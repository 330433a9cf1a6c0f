#include "lowbit/cli/model_tokenizer.h"

#include <fmt/format.h>

#include <cstdio>
#include <optional>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/model/companions.h"

namespace lowbit::cli {

namespace fs = std::filesystem;

namespace {

bool has_tokenizer(const fs::path& folder) {
  for (const fs::path& file : model::companions(folder))
    if (file.filename() == text::kTokenizerFile || file.extension() == ".bin") return true;
  return false;
}

}  // namespace

text::Tokenizer model_tokenizer(const fs::path& model, const fs::path& named, std::int64_t vocabulary) {
  const text::Tokenizer tokenizer = text::Tokenizer::load(named.empty() ? model : named);
  if (static_cast<std::int64_t>(tokenizer.vocabulary()) > vocabulary)
    fail_input("{}: the tokenizer has {} pieces, but the model {} has a vocabulary of {}; they do not belong together",
               (named.empty() ? model : named).string(), tokenizer.vocabulary(), model.string(), vocabulary);
  if (named.empty() || !has_tokenizer(model)) return tokenizer;
  const text::Tokenizer own = text::Tokenizer::load(model);
  if (own.hash() == tokenizer.hash()) return tokenizer;
  if (own.vocabulary() != tokenizer.vocabulary())
    fail_input("--tokenizer {} has {} pieces, but that of the model {} has {}; leave the flag out", named.string(),
               tokenizer.vocabulary(), model.string(), own.vocabulary());
  fmt::print(stderr, "lowbit: --tokenizer {} is used in place of another one in {}\n", named.string(), model.string());
  return tokenizer;
}

text::PromptReader open_prompt_reader(const fs::path& model, const fs::path& named, std::int64_t vocabulary) {
  std::error_code error;
  const bool folder = !named.empty() && fs::is_directory(named, error);
  return {model_tokenizer(model, named, vocabulary), folder ? named : model, vocabulary};
}

}  // namespace lowbit::cli
