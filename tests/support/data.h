#pragma once
#include <filesystem>
#include <string_view>

namespace lowbit::test {

/// The folder of golden numbers, models and texts that LOWBIT_TEST_DATA names, or an empty path. Tests that need it
/// begin with LOWBIT_NEEDS_DATA, and count as skipped without it.
std::filesystem::path data_folder();

/// A fresh empty folder that is removed, with what is in it, when the object dies.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace lowbit::test

#define LOWBIT_NEEDS_DATA()                                                                         \
  if (lowbit::test::data_folder().empty()) GTEST_SKIP() << "LOWBIT_TEST_DATA does not name a folder"
