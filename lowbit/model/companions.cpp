#include "lowbit/model/companions.h"

#include <string>
#include <system_error>

namespace lowbit::model {

namespace fs = std::filesystem;

std::vector<fs::path> companions(const fs::path& folder) {
  std::vector<fs::path> found, vocabularies;
  std::error_code error;
  for (const std::string_view name : kCompanionFiles)
    if (fs::is_regular_file(folder / name, error)) found.push_back(folder / name);
  if (!found.empty() && found.front().filename() == kCompanionFiles.front()) return found;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with("tok") && name.ends_with(".bin")) vocabularies.push_back(it->path());
  }
  if (vocabularies.size() == 1) found.push_back(vocabularies.front());
  return found;
}

}  // namespace lowbit::model
