#include "support/data.h"

#include <stdlib.h>

#include <stdexcept>
#include <string>

namespace lowbit::test {

std::filesystem::path data_folder() {
  const char* folder = getenv("LOWBIT_TEST_DATA");
  if (!folder || !*folder) return {};
  return folder;
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "lowbit-test-XXXXXX").string();
  if (!mkdtemp(name.data())) throw std::runtime_error("cannot make a temporary folder");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace lowbit::test
