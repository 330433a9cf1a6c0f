#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "backward_support.h"
#include "lowbit/formats/bf16.h"

namespace lowbit::kernels {
namespace {

using namespace test;

/// A random operand of a random kind, held in memory that ends where the matrix ends, and its logical values.
struct Operand {
  std::vector<float> stored, scale;
  std::vector<std::uint8_t> codes;
  BackwardOperand view;
  std::vector<double> values;   ///< [rows, columns], exact
  std::vector<double> rounded;  ///< each rounded to bfloat16 as the kernel is told to

  /// contracted_rows: the contracted index is the row.
  Operand(std::uint64_t seed, std::size_t rows, std::size_t columns, bool contracted_rows, const Grid* grid,
          bool transposed, bool scaled) {
    const std::size_t stored_rows = transposed ? columns : rows, stored_columns = transposed ? rows : columns;
    const std::size_t stride = stored_columns + seed % 4, size = (stored_rows - 1) * stride + stored_columns;
    view.stride = stride;
    view.transposed = transposed;
    if (grid) {
      const Rng rng(seed);
      codes.assign(size, 255);
      for (std::size_t r = 0; r < stored_rows; ++r)
        for (std::size_t c = 0; c < stored_columns; ++c)
          codes[r * stride + c] =
              static_cast<std::uint8_t>(rng.below(r * stride + c, static_cast<std::uint64_t>(grid->levels)));
      view.codes = codes.data();
      view.grid = grid;
    } else {
      stored = normals(seed, size);
      view.values = stored.data();
    }
    if (scaled) {
      scale = normals(seed + 1, contracted_rows ? rows : columns);
      view.contracted_scale = scale.data();
    }
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < columns; ++c) {
        const std::size_t at = transposed ? c * stride + r : r * stride + c;
        const float x = grid ? static_cast<float>(grid->value_of_code(codes[at])) : stored[at];
        const float s = scaled ? scale[contracted_rows ? r : c] : 1.0f;
        values.push_back(static_cast<double>(x) * static_cast<double>(s));
        rounded.push_back(static_cast<double>(to_float(to_bf16(x * s))));
      }
  }
};

struct Sums {
  std::vector<double> sum, magnitude;  ///< of the products, and of their absolute values
};
Sums multiply(std::size_t m, std::size_t n, std::size_t k, const std::vector<double>& a, const std::vector<double>& b) {
  Sums s{std::vector<double>(m * n), std::vector<double>(m * n)};
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t l = 0; l < k; ++l)
      for (std::size_t j = 0; j < n; ++j) {
        const double p = a[i * k + l] * b[l * n + j];
        s.sum[i * n + j] += p;
        s.magnitude[i * n + j] += std::abs(p);
      }
  return s;
}

struct Case {
  std::size_t m, n, k;
  const Grid *a_grid, *b_grid;
  bool a_transposed, b_transposed, a_scaled, b_scaled, accumulate;
  std::uint64_t seed;
};

std::string describe(const Case& c) {
  return std::to_string(c.m) + "x" + std::to_string(c.n) + "x" + std::to_string(c.k) + " a " +
         (c.a_grid ? std::string(c.a_grid->name) : "float") + (c.a_transposed ? " transposed" : "") +
         (c.a_scaled ? " scaled" : "") + ", b " + (c.b_grid ? std::string(c.b_grid->name) : "float") +
         (c.b_transposed ? " transposed" : "") + (c.b_scaled ? " scaled" : "") + (c.accumulate ? ", added" : "");
}

/// Every machine and precision on one case. Each value is one rounding per product and sum away from the exact one, in
/// whatever order: at most (k + 8) * 2^-24 of the sum of magnitudes. Rounding both operands to bfloat16 changes a
/// product by less than 2^-7 of itself, and by some 2e-3 on average.
void check(const Case& c) {
  const Operand a(c.seed, c.m, c.k, false, c.a_grid, c.a_transposed, c.a_scaled);
  const Operand b(c.seed + 10, c.k, c.n, true, c.b_grid, c.b_transposed, c.b_scaled);
  const std::vector<float> start = normals(c.seed + 20, c.m * c.n);
  Sums exact = multiply(c.m, c.n, c.k, a.values, b.values), rounded = multiply(c.m, c.n, c.k, a.rounded, b.rounded);
  if (c.accumulate)
    for (std::size_t i = 0; i < start.size(); ++i)
      for (Sums* s : {&exact, &rounded}) {
        s->sum[i] += static_cast<double>(start[i]);
        s->magnitude[i] += std::abs(static_cast<double>(start[i]));
      }
  SerialExecutor serial;
  for (const Machine& machine : machines())
    for (const Precision precision : {Precision::f32, Precision::bf16}) {
      const OnlyMachine only(machine);
      Guarded out(c.m, c.n, c.seed % 6);
      out.fill(c.accumulate ? start : std::vector<float>(start.size(), NAN));
      backward_product(serial, precision, c.m, c.n, c.k, a.view, b.view, out.data(), out.stride, c.accumulate);
      ASSERT_TRUE(out.guards_stand()) << machine.name() << " " << describe(c);
      const Sums& expected = precision == Precision::f32 ? exact : rounded;
      const std::vector<float> got = out.values();
      const double epsilon = static_cast<double>(c.k + 8) * 0x1p-24;
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_LE(std::abs(static_cast<double>(got[i]) - expected.sum[i]), epsilon * expected.magnitude[i])
            << machine.name() << " " << describe(c) << " row " << i / c.n << " column " << i % c.n;
        ASSERT_LE(std::abs(static_cast<double>(got[i]) - exact.sum[i]), (epsilon + 0x1.01p-7) * exact.magnitude[i]);
      }
      if (c.m * c.n >= 64 && c.k >= 16) {
        ASSERT_LT(relative_error(got, expected.sum), 1e-6) << machine.name() << " " << describe(c);
        ASSERT_LT(relative_error(got, exact.sum), 4e-3) << machine.name() << " " << describe(c);
      }
    }
}

const Grid* some_grid(std::uint64_t draw) { return draw < kGrids.size() ? &kGrids[draw] : nullptr; }

std::vector<const Grid*> integer_grids() {
  std::vector<const Grid*> grids;
  for (const Grid* grid : every_grid())
    if (grid->integer()) grids.push_back(grid);
  return grids;
}

TEST(BackwardProduct, AgreesWithDoubleLoopsForRandomSmallShapesAndKinds) {
  const Rng rng(41);
  for (std::uint64_t i = 0; i < 400; ++i) {
    const auto draw = [&](std::uint64_t what, std::uint64_t bound) { return rng.below(i * 16 + what, bound); };
    check({draw(0, 70) + 1, draw(1, 70) + 1, draw(2, 70) + 1, some_grid(draw(3, 18)), some_grid(draw(4, 18)),
           draw(5, 2) == 0, draw(6, 2) == 0, draw(7, 2) == 0, draw(8, 2) == 0, draw(9, 2) == 0,
           100 * i + draw(10, 24)});
    if (HasFatalFailure()) return;
  }
}

TEST(BackwardProduct, AgreesWithDoubleLoopsAroundEveryTileWidth) {
  // Panels are 4, 6 or 12 rows and 8, 16 or 32 columns wide, words hold 1 or 2, vectors 4, 8 or 16.
  std::uint64_t seed = 7000;
  for (const std::size_t m : {1, 11, 12, 13, 24, 25})
    for (const std::size_t n : {1, 15, 16, 31, 32, 33, 64})
      for (const std::size_t k : {1, 2, 31, 32, 33}) {
        check({m, n, k, nullptr, nullptr, seed % 2 == 0, seed % 3 == 0, false, false, false, ++seed});
        if (HasFatalFailure()) return;
      }
}

TEST(BackwardProduct, AgreesWithDoubleLoopsForCodesOfEveryGrid) {
  std::uint64_t seed = 9000;
  for (const Grid* grid : integer_grids())
    for (const bool transposed : {false, true}) {
      check({37, 50, 41, nullptr, grid, transposed, transposed, true, false, true, ++seed});
      check({37, 50, 41, grid, nullptr, !transposed, transposed, false, true, false, ++seed});
    }
}

TEST(BackwardProduct, AgreesWithDoubleLoopsWhereTheContractedIndexTakesSeveralBlocksAndSlabs) {
  const Grid* four = find_grid("4");
  check({130, 97, 1101, nullptr, four, false, false, true, false, false, 1});      // several blocks
  check({97, 130, 1300, nullptr, four, true, false, true, false, true, 2});        // the same for dW
  check({70, 300, 515, nullptr, nullptr, false, true, false, false, true, 3});     // several tiles across
  check({5, 2050, 3000, nullptr, nullptr, false, false, false, false, false, 4});  // several slabs
  check({2050, 7, 3001, nullptr, four, true, false, true, false, true, 5});
}

TEST(BackwardProduct, KeepsEveryBitForAnyNumberOfThreads) {
  ThreadPool two(2), three(3);
  SerialExecutor one;
  const std::size_t m = 300, n = 200, k = 1500;
  const Grid* grid = find_grid("2");
  for (const bool transposed : {false, true}) {
    const Operand a(1, m, k, false, nullptr, transposed, true), b(2, k, n, true, grid, false, false);
    for (const Machine& machine : machines())
      for (const Precision precision : {Precision::f32, Precision::bf16}) {
        const OnlyMachine only(machine);
        std::vector<std::vector<float>> results;
        for (Executor* executor : std::initializer_list<Executor*>{&one, &two, &three}) {
          results.push_back(normals(3, m * n));
          backward_product(*executor, precision, m, n, k, a.view, b.view, results.back().data(), n, true);
        }
        for (const auto& result : results)
          EXPECT_EQ(std::memcmp(result.data(), results[0].data(), m * n * sizeof(float)), 0) << machine.name();
      }
  }
}

TEST(BackwardProduct, OfNothingIsZeroOrLeavesTheSumAlone) {
  SerialExecutor serial;
  std::vector<float> c(6, 3.0f);
  const std::vector<float> x(6, 1.0f);
  const BackwardOperand operand{.values = x.data(), .stride = 1};
  backward_product(serial, Precision::bf16, 2, 3, 0, operand, operand, c.data(), 3, true);
  EXPECT_EQ(c, std::vector<float>(6, 3.0f));
  backward_product(serial, Precision::bf16, 2, 3, 0, operand, operand, c.data(), 3, false);
  EXPECT_EQ(c, std::vector<float>(6, 0.0f));
}

TEST(BackwardProduct, LetsNaNAndInfinityThrough) {
  SerialExecutor serial;
  for (const Machine& machine : machines())
    for (const Precision precision : {Precision::f32, Precision::bf16})
      for (const bool transposed : {false, true}) {
        const OnlyMachine only(machine);
        std::vector<float> a(40, 1.0f), b(40, 1.0f), c(1);
        const BackwardOperand left{.values = a.data(), .stride = transposed ? 1u : 40u, .transposed = transposed};
        const BackwardOperand right{.values = b.data(), .stride = 1};
        a[17] = INFINITY;
        backward_product(serial, precision, 1, 1, 40, left, right, c.data(), 1, false);
        EXPECT_EQ(c[0], INFINITY) << machine.name();
        a[17] = std::bit_cast<float>(0x7fffffffu);
        backward_product(serial, precision, 1, 1, 40, left, right, c.data(), 1, false);
        EXPECT_TRUE(std::isnan(c[0])) << machine.name();
      }
}

TEST(BackwardForms, DifferFromOneMachineToTheNext) {
  std::set<std::string> names;
  for (const Machine& machine : machines()) {
    const OnlyMachine only(machine);
    names.insert(backward_form(Precision::bf16).name);
  }
  EXPECT_EQ(names.size(), machines().size());
}

}  // namespace
}  // namespace lowbit::kernels
