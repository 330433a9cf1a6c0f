#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "lowbit/base/error.h"
#include "lowbit/nn/kernel_choice.h"

namespace lowbit::nn {
namespace {

Rates round_machine() {
  Rates r;
  r.of = {1e9, 1e11, 2e11, 1e12, 5e12, 8e11, 4e11, 2e11, 2e10};
  r.caches = {32 << 10, 1 << 20, 32 << 20};
  r.threads = 1;
  return r;
}

Product product(const char* format, std::size_t rows, double in_turn = 1e9) {
  return {rows, 2048, 2048, parse_format(format), in_turn};
}

TEST(KernelChoice, ByteCodesForManyRowsTakeTwoOperationsAProductUnderTheInt8Peak) {
  const Kernel& codes = *find_kernel("codes");
  const Work work = work_of(codes, product("w4a4", 512));
  EXPECT_EQ(work.unit, Ceiling::int8);
  EXPECT_DOUBLE_EQ(work.operations, 2.0 * 512 * 2048 * 2048);
  EXPECT_DOUBLE_EQ(work.bytes, 2048.0 * 2048 + 512.0 * (2048 + 4 * 2048));
  EXPECT_DOUBLE_EQ(work.resident, 1e9);
  const Estimate e = estimate(round_machine(), work);
  EXPECT_DOUBLE_EQ(e.seconds(), 2.0 * 512 * 2048 * 2048 / 1e12);
  EXPECT_EQ(e.bound(), Ceiling::int8);
}

TEST(KernelChoice, OneRowIsBoundByTheMemoryThatTheModelLiesIn) {
  const Estimate e = estimate(round_machine(), work_of(*find_kernel("codes"), product("w8a8", 1)));
  EXPECT_EQ(e.bound(), Ceiling::memory);
  EXPECT_DOUBLE_EQ(e.seconds(), (2048.0 * 2048 + 2048 + 4 * 2048) / 2e10);
  const Estimate small = estimate(round_machine(), work_of(*find_kernel("codes"), product("w8a8", 1, 1e7)));
  EXPECT_EQ(small.bound(), Ceiling::l3);
}

TEST(KernelChoice, EveryFormatHasAKernelThatServesItAndRunsEverywhere) {
  const Isa before = active_isa();
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (!isa_supported(isa)) continue;
    force_isa(isa);
    for (const char* w : {"1", "1.58", "2", "3", "4", "5", "6", "7", "8"})
      for (const char* a : {"1", "2", "3", "4", "5", "6", "7", "8", "16"}) {
        const std::string format = fmt::format("w{}a{}", w, a);
        for (const std::size_t rows : {1u, 4u, 512u}) {
          const Choice c = choose_kernel(round_machine(), product(format.c_str(), rows));
          ASSERT_NE(c.kernel, nullptr) << format;
          EXPECT_TRUE(c.kernel->serves(parse_format(format)));
          EXPECT_GT(c.estimate.seconds(), 0);
        }
      }
    EXPECT_EQ(choose_kernel(round_machine(), product("bf16", 1)).kernel->name, "bf16");
    EXPECT_EQ(choose_kernel(round_machine(), product("f32", 1)).kernel->name, "float");
  }
  force_isa(before);
}

TEST(KernelChoice, ChoosesTheLeastTime) {
  for (const char* format : {"w1a1", "w2a4", "w4a4", "w8a8", "w4a16"})
    for (const std::size_t rows : {1u, 16u, 512u}) {
      const Product p = product(format, rows);
      const Choice best = choose_kernel(round_machine(), p);
      for (const Kernel& kernel : kernel_table())
        if (kernel.serves(p.format) && kernel.runs(active_isa())) {
          EXPECT_LE(best.estimate.seconds(), estimate(round_machine(), work_of(kernel, p)).seconds()) << kernel.name;
        }
    }
}

std::string refusal(const char* format, const char* kernel) {
  try {
    force_kernel(kernel, parse_format(format));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  force_kernel("", {});
  return "not refused";
}

TEST(KernelChoice, AForcedKernelThatCannotIsRefusedWithThoseThatCan) {
  const std::string wrong_format = refusal("w4a4", "float");
  EXPECT_NE(wrong_format.find("cannot multiply w4a4"), std::string::npos) << wrong_format;
  EXPECT_NE(wrong_format.find("codes, packed, planes"), std::string::npos) << wrong_format;
  EXPECT_NE(refusal("w4a8", "planes").find("cannot multiply w4a8; these can: codes, packed"), std::string::npos);
  EXPECT_NE(refusal("bf16", "planes").find("these can: bf16"), std::string::npos);
  const std::string unknown = refusal("w4a4", "quick");
  EXPECT_NE(unknown.find("no kernel 'quick'"), std::string::npos) << unknown;
  EXPECT_NE(unknown.find("bf16"), std::string::npos) << unknown;
}

TEST(KernelChoice, PlanesTakeAProductOfBitsForEachPairOfPlanes) {
  const Work work = work_of(*find_kernel("planes"), product("w2a4", 512));
  EXPECT_EQ(work.unit, Ceiling::binary);
  EXPECT_DOUBLE_EQ(work.operations, 2.0 * 2 * 4 * 512 * 2048 * 2048);
  EXPECT_DOUBLE_EQ(work.bytes, 2048.0 * 2048 * 2 / 8 + 512.0 * (2048 + 4 * 2048));
  EXPECT_EQ(choose_kernel(round_machine(), product("w1a1", 512)).kernel->id, KernelId::planes);
  EXPECT_EQ(choose_kernel(round_machine(), product("w4a4", 512)).kernel->id, KernelId::codes);
}

TEST(KernelChoice, WeightsAreLaidOutForTheirPurpose) {
  set_kernel_rates(round_machine());
  const auto chosen = [](const char* format, Purpose purpose) {
    return kernel_for_weights(parse_format(format), 2048, 2048, purpose, 1).id;
  };
  EXPECT_EQ(chosen("w1a1", Purpose::train), KernelId::planes);
  EXPECT_EQ(chosen("w3a3", Purpose::train), KernelId::codes) << "nine products of bits cost more than one of bytes";
  EXPECT_EQ(chosen("w2a2", Purpose::run), KernelId::planes);
  EXPECT_EQ(chosen("w4a8", Purpose::train), KernelId::codes) << "nothing to unpack";
  for (const char* format : {"w2a3", "w3a3", "w4a4", "w4a8", "w1a8"})
    EXPECT_EQ(chosen(format, Purpose::run), KernelId::packed) << format << ": what is read for a written token";
  EXPECT_EQ(chosen("w8a8", Purpose::run), KernelId::codes);
  force_kernel("codes", parse_format("w1a1"));
  EXPECT_EQ(chosen("w1a1", Purpose::run), KernelId::codes);
  EXPECT_EQ(chosen("bf16", Purpose::run), KernelId::bf16) << "what the forced kernel does not serve goes by choice";
  force_kernel("", {});
  EXPECT_EQ(chosen("w1a1", Purpose::run), KernelId::planes);
}

}  // namespace
}  // namespace lowbit::nn
