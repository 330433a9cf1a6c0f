#include <gtest/gtest.h>

#include <fstream>

#include "expect_error.h"
#include "lowbit/base/file_write.h"
#include "lowbit/files/safetensors.h"
#include "support/data.h"

namespace lowbit::files {
namespace {

using test::expect_error;

std::string small_file() {
  SafetensorsWriter writer;
  static const float values[40] = {1, 2, 3};
  static const std::int32_t numbers[3] = {4, 5, 6};
  writer.metadata("format", "pt");
  writer.add("model.norm.weight", Dtype::f32, {2, 20}, std::as_bytes(std::span(values)));
  writer.add("t", Dtype::i32, {3}, std::as_bytes(std::span(numbers)));
  std::string out;
  writer.write([&](std::span<const std::byte> b) { out.append(reinterpret_cast<const char*>(b.data()), b.size()); });
  return out;
}

void put(const std::filesystem::path& path, std::string_view bytes) {  // no fsync: there are many
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// Opens it; an Error(input) is fine, and so is a file whose views are all inside and of the size they claim.
bool opens_soundly(const std::filesystem::path& path, std::size_t size) {
  try {
    const SafetensorsFile file(path);
    std::size_t bytes = 0;
    unsigned sum = 0;
    for (const TensorView& tensor : file.tensors()) {
      std::size_t wanted = dtype_bytes(tensor.dtype);
      for (const std::int64_t n : tensor.shape) wanted *= static_cast<std::size_t>(n);
      EXPECT_EQ(tensor.bytes.size(), wanted);
      bytes += tensor.bytes.size();
      for (const std::byte b : tensor.bytes) sum += static_cast<unsigned>(b);  // the sanitizer sees a read outside
      EXPECT_EQ(file.find(tensor.name), &tensor);
    }
    EXPECT_LE(bytes + 8, size);
    EXPECT_LE(sum, 255 * bytes);
    return true;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(path.string()), std::string_view::npos) << error.what();
    return false;
  }
}

TEST(SafetensorsDamage, CutAtEveryByteOrWithABytesMoreItIsRefused) {
  const test::TemporaryFolder folder;
  const std::string good = small_file();
  for (std::size_t size = 0; size < good.size(); ++size) {
    put(folder / "cut", good.substr(0, size));
    EXPECT_FALSE(opens_soundly(folder / "cut", size)) << size;
  }
  put(folder / "long", good + '\0');
  EXPECT_FALSE(opens_soundly(folder / "long", good.size() + 1));
  put(folder / "good", good);
  EXPECT_TRUE(opens_soundly(folder / "good", good.size()));
}

TEST(SafetensorsDamage, AnyChangedByteIsRefusedOrLeavesASoundFile) {
  const test::TemporaryFolder folder;
  const std::string good = small_file();
  std::size_t refused = 0, sound = 0;
  std::string values("\x00\xFF\x80\x7F\"\\{}[],:019-e ", 18);
  values.resize(25);
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 7; ++bit)
      values[static_cast<std::size_t>(18 + bit)] = static_cast<char>(good[i] ^ 1 << bit);
    for (const char value : values) {
      std::string bad = good;
      bad[i] = value;
      put(folder / "x", bad);
      ++(opens_soundly(folder / "x", bad.size()) ? sound : refused);
    }
  }
  EXPECT_GT(refused, 3000u);
  EXPECT_GT(sound, 3000u);  // names, metadata and values may be anything
}

TEST(SafetensorsDamage, EachRuleIsNamedWhenItIsBroken) {
  struct Case {
    std::string_view header;
    std::size_t data;
    std::string_view says;
  };
  const Case cases[] = {
      {R"([])", 0, "does not begin with {"},
      {R"( {})", 0, "does not begin with {"},
      {R"({)", 0, "not JSON"},
      {R"({} x)", 0, "not JSON"},
      {R"({"a":7})", 0, "exactly the keys"},
      {R"({"a":{"dtype":"U8","shape":[1]}})", 1, "exactly the keys"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}})", 1, "exactly the keys"},
      {R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,1]}})", 1, "dtype is not a text"},
      {R"({"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})", 1, "F8_E4M3"},
      {R"({"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}})", 1, "shape is not a list"},
      {R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1, "not a whole number of 0 or more"},
      {R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1, "not a whole number of 0 or more"},
      {R"({"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}})", 1, "not a whole number of 0 or more"},
      {R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,1]}})", 1, "too large"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "overflows"},
      {R"({"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})", 0, "overflows"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1, "list of two"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,-1]}})", 1, "not a whole number of 0 or more"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1, "bytes 1 to 0"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 1, "cut short"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,18446744073709551615]}})", 1,
       "cut short"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,3]}})", 3, "takes 4 bytes"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2, "a hole"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       3, "begins at byte 1"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 2, "1 bytes behind the last tensor"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2, "stands twice"},
      {R"({"__metadata__":[]})", 0, "__metadata__ is not an object"},
      {R"({"__metadata__":{"k":1}})", 0, "not a text"},
  };
  const test::TemporaryFolder folder;
  for (const Case& c : cases) {
    const std::uint64_t length = c.header.size();
    put(folder / "bad.safetensors",
        std::string(reinterpret_cast<const char*>(&length), 8) + std::string(c.header) + std::string(c.data, 'x'));
    SCOPED_TRACE(c.header);
    expect_error(ErrorKind::input, {"bad.safetensors", c.says},
                 [&] { SafetensorsFile file(folder / "bad.safetensors"); });
  }
}

TEST(SafetensorsDamage, AHeaderLengthBeyondTheFileIsRefusedBeforeItIsUsed) {
  const test::TemporaryFolder folder;
  for (const std::uint64_t length :
       {std::uint64_t{3}, ~std::uint64_t{0}, ~std::uint64_t{0} - 7, std::uint64_t{1} << 62}) {
    put(folder / "x", std::string(reinterpret_cast<const char*>(&length), 8) + "{}");
    expect_error(ErrorKind::input, {"cut short"}, [&] { SafetensorsFile file(folder / "x"); });
  }
  put(folder / "empty", "");
  expect_error(ErrorKind::input, {"is empty"}, [&] { SafetensorsFile file(folder / "empty"); });
  expect_error(ErrorKind::input, {"cannot open"}, [&] { SafetensorsFile file(folder / "absent"); });
  expect_error(ErrorKind::input, {"is a folder"}, [&] { SafetensorsFile file(folder.path()); });
}

}  // namespace
}  // namespace lowbit::files
