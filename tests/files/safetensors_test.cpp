#include "lowbit/files/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "expect_error.h"
#include "lowbit/base/file_write.h"
#include "support/data.h"

namespace lowbit::files {
namespace {

using test::expect_error;

template <class T>
std::span<const std::byte> bytes_of(const T& values) {
  return std::as_bytes(std::span(values));
}

std::string file_of(std::string header, std::string_view data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(data);
}

// What safetensors 0.8.0 for Python writes for the tensors below, with metadata {"format": "pt"}.
std::string python_bytes() {
  using namespace std::string_literals;
  return file_of(
      R"({"__metadata__":{"format":"pt"},"scalar":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("empty":{"dtype":"F32",)"
      R"("shape":[0,4],"data_offsets":[8,8]},"weights":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},"half":)"
      R"({"dtype":"F16","shape":[3],"data_offsets":[32,38]},)"
      R"("bytes":{"dtype":"U8","shape":[3],"data_offsets":[38,41]}}  )",
      "\xf9\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\xbf\x00\x00\x80\xbe\x00\x00\x00\x00\x00\x00\x80\x3e\x00\x00\x00\x3f"
      "\x00\x00\x40\x3f\x00\x3e\x01\x00\xff\xfb\x01\x02\xff"s);
}

TEST(Safetensors, ReadsAFileOfThePythonLibrary) {
  const test::TemporaryFolder folder;
  write_file(folder / "a.safetensors", python_bytes());
  const SafetensorsFile file(folder / "a.safetensors");
  ASSERT_EQ(file.tensors().size(), 5u);
  EXPECT_EQ(file.metadata(), (Metadata{{"format", "pt"}}));
  const TensorView& weights = file.at("weights");
  EXPECT_EQ(weights.dtype, Dtype::f32);
  EXPECT_EQ(weights.shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(weights.shape_text(), "[2, 3]");
  EXPECT_EQ(weights.floats(), (std::vector<float>{-0.5f, -0.25f, 0, 0.25f, 0.5f, 0.75f}));
  EXPECT_EQ(weights.values<float>()[5], 0.75f);
  EXPECT_EQ(file.at("scalar").values<std::int64_t>()[0], -7);
  EXPECT_EQ(file.at("scalar").elements(), 1);
  EXPECT_EQ(file.at("empty").elements(), 0);
  EXPECT_EQ(file.at("half").floats(), (std::vector<float>{1.5f, 0x1p-24f, -65504}));
  EXPECT_EQ(file.at("bytes").values<std::uint8_t>()[2], 255);
  EXPECT_EQ(file.find("absent"), nullptr);
  expect_error(ErrorKind::input, {"a.safetensors", "no tensor absent"}, [&] { file.at("absent"); });
  expect_error(ErrorKind::input, {"weights", "[2, 3]", "wanted [3, 2]"}, [&] {
    weights.require_shape(std::array<std::int64_t, 2>{3, 2});
  });
  expect_error(ErrorKind::input, {"weights", "F32", "wanted U8"}, [&] { weights.require_dtype(Dtype::u8); });
}

TEST(Safetensors, ViewsOutliveAMoveOfTheFile) {
  const test::TemporaryFolder folder;
  write_file(folder / "a.safetensors", python_bytes());
  SafetensorsFile first(folder / "a.safetensors");
  const TensorView view = first.at("weights");
  const SafetensorsFile second(std::move(first));
  EXPECT_EQ(view.floats()[0], -0.5f);
  expect_error(ErrorKind::input, {"a.safetensors"}, [&] { view.require_dtype(Dtype::u8); });
}

TEST(Safetensors, ValuesThatAnotherProgramLaidUnalignedAreRefusedInPlaceButDecode) {
  const test::TemporaryFolder folder;
  std::string header =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})";
  header.resize(120, ' ');
  write_file(folder / "a.safetensors", file_of(header, std::string_view("\1\0\0\x80\x3f", 5)));
  const SafetensorsFile file(folder / "a.safetensors");
  EXPECT_EQ(file.at("b").floats(), std::vector<float>{1});
  expect_error(ErrorKind::input, {"\"b\"", "multiple of 4"}, [&] { file.at("b").values<float>(); });
}

TEST(Safetensors, WritesTheseBytes) {
  const float weights[] = {1, -2};
  const std::uint8_t codes[64] = {1, 2, 3};
  SafetensorsWriter writer;
  writer.metadata("format", "pt");
  writer.add("w \"q\"", Dtype::f32, {1, 2}, bytes_of(weights));
  writer.add("codes", Dtype::u8, {2, 32}, std::span<const std::uint8_t>(codes));
  std::string got;
  writer.write([&](std::span<const std::byte> b) { got.append(reinterpret_cast<const char*>(b.data()), b.size()); });
  std::string header = R"({"__metadata__":{"format":"pt"},"codes":{"dtype":"U8","shape":[2,32],"data_offsets":[0,64]},)"
                       R"("w \"q\"":{"dtype":"F32","shape":[1,2],"data_offsets":[64,72]}})";
  ASSERT_EQ(header.size(), 155u);
  header.resize(184, ' ');  // 8 + 184 = 3 * 64
  const std::string data = std::string("\1\2\3") + std::string(61, '\0') + std::string("\0\0\x80\x3f\0\0\0\xc0", 8);
  EXPECT_EQ(got, file_of(header, data));
  EXPECT_EQ(writer.file_bytes(), got.size());
}

TEST(Safetensors, WhatIsWrittenComesBackForEveryDtypeAndRaggedSize) {
  const test::TemporaryFolder folder;
  const std::vector<std::uint8_t> noise = [] {
    std::vector<std::uint8_t> v(4096);
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<std::uint8_t>(i * 37 + i / 256);
    return v;
  }();
  struct Case {
    std::string name;
    Dtype dtype;
    std::vector<std::int64_t> shape;
    std::size_t bytes;
  };
  std::vector<Case> cases;
  for (int d = 0; d < 12; ++d)
    for (const std::int64_t n : {0, 1, 3, 7, 16, 33, 64, 100}) {
      const auto dtype = static_cast<Dtype>(d);
      cases.push_back({fmt::format("{}.{}", dtype_name(dtype), n),
                       dtype,
                       {n, 3},
                       static_cast<std::size_t>(3 * n) * dtype_bytes(dtype)});
    }
  SafetensorsWriter writer;
  for (const Case& c : cases)
    writer.add(c.name, c.dtype, c.shape, [&noise, &c](const ByteSink& sink) {  // in two pieces
      sink(bytes_of(noise).first(c.bytes / 2));
      sink(bytes_of(noise).subspan(c.bytes / 2, c.bytes - c.bytes / 2));
    });
  writer.write(folder / "a.safetensors");
  const SafetensorsFile file(folder / "a.safetensors");
  ASSERT_EQ(file.tensors().size(), cases.size());
  EXPECT_EQ(file.file_bytes(), writer.file_bytes());
  const auto* data = file.tensors().front().bytes.data();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 64, 0u);
  std::size_t on_lines = 0;
  for (const Case& c : cases) {
    const TensorView& view = file.at(c.name);
    EXPECT_EQ(view.dtype, c.dtype);
    EXPECT_EQ(view.shape, c.shape);
    EXPECT_TRUE(std::ranges::equal(view.bytes, bytes_of(noise).first(c.bytes))) << c.name;
    const auto offset = static_cast<std::size_t>(view.bytes.data() - data);
    EXPECT_EQ(offset % dtype_bytes(c.dtype), 0u) << c.name;
    EXPECT_TRUE(c.bytes % 64 != 0 || offset % 64 == 0) << c.name;
    on_lines += c.bytes % 64 == 0;
  }
  EXPECT_GT(on_lines, 20u);
  // Tensors of whole lines keep the order in which they were given.
  std::vector<std::string> given, found;
  for (const Case& c : cases)
    if (c.bytes % 64 == 0 && c.bytes > 0) given.push_back(c.name);
  for (const TensorView& view : file.tensors())
    if (view.bytes.size() % 64 == 0 && !view.bytes.empty()) found.push_back(view.name);
  EXPECT_EQ(given, found);
}

TEST(Safetensors, AFailedWriteLeavesTheOldFile) {
  const test::TemporaryFolder folder;
  const float values[] = {1, 2};
  SafetensorsWriter writer;
  writer.add("v", Dtype::f32, {2}, bytes_of(values));
  writer.write(folder / "a.safetensors");
  SafetensorsWriter broken;
  broken.add("v", Dtype::f32, {2}, [](const ByteSink&) { fail("no more"); });
  expect_error(ErrorKind::failed, {"no more"}, [&] { broken.write(folder / "a.safetensors"); });
  EXPECT_EQ(SafetensorsFile(folder / "a.safetensors").at("v").floats()[1], 2.0f);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(Dtype, EveryHalfDecodesToItsValue) {
  // Against the definition of binary16: sign, 5 bits of exponent, 10 of fraction.
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    float got = 0;
    to_floats(Dtype::f16, std::as_bytes(std::span(&half, 1)), std::span(&got, 1));
    const int exponent = static_cast<int>(bits >> 10 & 31);
    const double fraction = (bits & 1023) / 1024.0;
    double wanted = exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(got), (bits & 1023) != 0) << bits;
      EXPECT_TRUE(std::isnan(got) || std::isinf(got)) << bits;
    } else {
      EXPECT_EQ(got, bits & 0x8000 ? -wanted : wanted) << bits;
    }
    EXPECT_EQ(std::signbit(got), (bits & 0x8000) != 0) << bits;
  }
}

TEST(Dtype, NamesAndSizesAreThoseOfTheFormat) {
  std::set<std::string_view> names;
  for (int d = 0; d < 12; ++d) {
    const auto dtype = static_cast<Dtype>(d);
    EXPECT_EQ(dtype_by_name(dtype_name(dtype)), dtype);
    names.insert(dtype_name(dtype));
  }
  EXPECT_EQ(names.size(), 12u);
  EXPECT_EQ(dtype_by_name("F8_E4M3"), std::nullopt);
  EXPECT_EQ(dtype_bytes(Dtype::f64), 8u);
  EXPECT_EQ(dtype_bytes(Dtype::bf16), 2u);
  EXPECT_EQ(dtype_bytes(Dtype::boolean), 1u);
  const std::uint16_t brain = 0xC040;
  float got = 0;
  to_floats(Dtype::bf16, std::as_bytes(std::span(&brain, 1)), std::span(&got, 1));
  EXPECT_EQ(got, -3.0f);
}

TEST(Safetensors, OpensTheModelsAndGoldenFilesOfTheTestData) {
  LOWBIT_NEEDS_DATA();
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(test::data_folder()))
    if (entry.path().extension() == ".safetensors") {
      const SafetensorsFile file(entry.path());
      EXPECT_FALSE(file.tensors().empty()) << entry.path();
      ++files;
    }
  EXPECT_GT(files, 0u);
  const SafetensorsFile stories(test::data_folder() / "models/stories260K/model.safetensors");
  EXPECT_EQ(stories.at("model.embed_tokens.weight").shape, (std::vector<std::int64_t>{512, 64}));
}

}  // namespace
}  // namespace lowbit::files
