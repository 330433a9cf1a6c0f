#include "lowbit/files/npy.h"

#include <gtest/gtest.h>

#include "expect_error.h"
#include "lowbit/base/file_map.h"
#include "support/data.h"

namespace lowbit::files {
namespace {

using test::expect_error;

// What numpy.save of NumPy 2.4 writes for [[0, 1.5, -2], [3, 4, 0.1]] in float32.
std::string numpy_bytes() {
  std::string header("\x93NUMPY\x01\x00v\x00", 10);
  header += "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  header.resize(127, ' ');
  header += '\n';
  const float values[] = {0, 1.5f, -2, 3, 4, 0.1f};
  return header + std::string(reinterpret_cast<const char*>(values), sizeof(values));
}

TEST(Npy, WritesInPiecesTheBytesThatNumpyWrites) {
  const test::TemporaryFolder folder;
  const auto path = folder / "a.npy";
  NpyWriter writer(path, 3);
  const float values[] = {0, 1.5f, -2, 3, 4, 0.1f};
  writer.append(std::span(values).first(3));
  EXPECT_FALSE(std::filesystem::exists(path)) << "nothing stands under the name before finish";
  writer.append({});
  writer.append(std::span(values).subspan(3));
  writer.finish();
  EXPECT_EQ(writer.rows(), 2u);
  EXPECT_EQ(read_file(path), numpy_bytes());
}

TEST(Npy, ReadsWhatNumpyWroteAndRefusesDamage) {
  const test::TemporaryFolder folder;
  const auto path = folder / "a.npy";
  const std::string good = numpy_bytes();
  write_file(path, good);
  const NpyArray array = read_npy(path);
  EXPECT_EQ(array.shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(array.values, (std::vector<float>{0, 1.5f, -2, 3, 4, 0.1f}));
  for (std::size_t size = 1; size < good.size(); ++size) {
    write_file(path, good.substr(0, size));
    expect_error(ErrorKind::input, {"a.npy"}, [&] { read_npy(path); });
  }
  for (const auto& [from, to] : {std::pair("<f4", "<f8"),
                                 {"False", "True "},
                                 {"(2, 3)", "(3, 3)"},
                                 {"(2, 3)", "(-2,3)"},
                                 {"(2, 3), }", "(9223372036854775807,9223372036854775807)}"}}) {
    std::string bad = good;
    bad.replace(bad.find(from), std::string_view(to).size(), to);
    write_file(path, bad);
    expect_error(ErrorKind::input, {"a.npy"}, [&] { read_npy(path); });
  }
}

}  // namespace
}  // namespace lowbit::files
