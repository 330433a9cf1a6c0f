#include <gtest/gtest.h>

#include <numeric>

#include "kernels/code_oracles.h"
#include "lowbit/kernels/code_product.h"

// The oracles of whole layers: coding, product, and the way back.
namespace lowbit::kernels::test {
namespace {

struct O7 {
  std::vector<double> x, w;
  O7() {
    std::uint64_t state = 2072;
    const auto draw = [&state] {
      state = (1103515245 * state + 12345) % (std::uint64_t{1} << 31);
      return 2 * static_cast<double>(state) / 2147483648.0 - 1;
    };
    for (int i = 0; i < 256; ++i) x.push_back(draw());
    x[5] += 6;
    for (int i = 0; i < 384; ++i) w.push_back(draw() * 0.05);
  }
};

TEST(OracleO7, DataAndTheirRotation) {
  const O7 data;
  expect_near(data.x[0], .4537932, kLoose);
  expect_near(data.x[1], -.3761081, kLoose);
  expect_near(data.x[2], -.4890440, kLoose);
  expect_near(data.w[0], .0318650, kLoose);
  expect_near(data.w[383], .0222381, kLoose);
  on_every_isa([&] {
    SerialExecutor serial;
    std::vector<float> x(data.x.begin(), data.x.end());
    rotate_rows(serial, 128, 2, 128, x.data(), 128, x.data(), 128);
    const double expected[] = {.5019420, -1.1699515, .4287898, -.5529971};
    for (std::size_t i = 0; i < 4; ++i) expect_near_float(x[i], expected[i]);
  });
}

struct O7Case {
  int bits;
  double outer;  // 0: the grid's own trust edge
  std::vector<int> first_codes, x_sums, w_sums, x_masked, w_masked;
  double y[6];
  double dx_norm, dw_norm, dx_first[2], dw_first[2];
};
const O7Case kO7Cases[] = {{4,
                            0,
                            {2, -5, 1, -3, 0, 1, -4, -3},
                            {-37, -51},
                            {-27, -70, -48},
                            {0, 2},
                            {0, 1, 0},
                            {-.1083116, .0104677, .1064582, -.0582585, .1698800, -.0498093},
                            .9408186,
                            18.8762921,
                            {.0377323, -.0585146},
                            {.1344013, 1.1968258}},
                           {2,
                            0,
                            {},
                            {-52, -60},
                            {-54, -67, -57},
                            {7, 8},
                            {5, 10, 6},
                            {-.0623308, -.0718411, .1187727, .0165830, .2047836, -.0258539},
                            .8470315,
                            17.3666942,
                            {.0265152, -.0589946},
                            {.1099288, 1.0759262}},
                           {1,
                            1.30,
                            {},
                            {-61, -64},
                            {-61, -66, -60},
                            {41, 36},
                            {36, 32, 38},
                            {0, .0263613, .0832027, .1064864, .1683206, -.2656305},
                            .6415718,
                            13.0907858,
                            {.0271630, -.0083426},
                            {.0197201, .6125260}}};

void expect_o7_codes(const O7Case& c, const Coded& x, const Coded& w) {
  for (std::size_t i = 0; i < c.first_codes.size(); ++i) EXPECT_EQ(x.k[i], c.first_codes[i]);
  EXPECT_EQ(x.k_sum, c.x_sums);
  EXPECT_EQ(w.k_sum, c.w_sums);
  for (const auto& [side, expected] : {std::pair(&x, &c.x_masked), {&w, &c.w_masked}})
    for (std::size_t row = 0; row < expected->size(); ++row) {
      const auto begin = side->mask.begin() + static_cast<std::ptrdiff_t>(128 * row);
      EXPECT_EQ(std::count(begin, begin + 128, false), (*expected)[row]) << "row " << row;
    }
}

TEST(OracleO7, CodesCodeSumsMasksAndProductsOfARotatedLayer) {
  const O7 data;
  for (const O7Case& c : kO7Cases) {
    SCOPED_TRACE(std::to_string(c.bits) + " bits");
    const Grid& grid = grid_of_bits(c.bits);
    const double factor = (c.outer > 0 ? c.outer : grid.trust_edge) * grid.alpha;
    const Coded x = code_by_definition<double>(data.x, 2, grid, factor, 128);
    const Coded w = code_by_definition<double>(data.w, 3, grid, factor, 128);
    expect_o7_codes(c, x, w);
    for (std::size_t m = 0; m < 2; ++m)
      for (std::size_t n = 0; n < 3; ++n) {
        double sum = 0;
        for (std::size_t i = 0; i < 128; ++i) sum += x.value[128 * m + i] * w.value[128 * n + i];
        EXPECT_NEAR(sum, c.y[3 * m + n], 1e-7);  // 7 decimals are printed
      }
    on_every_isa([&] {
      SerialExecutor serial;
      expect_o7_codes(c, code_by_kernel(data.x, 2, grid, factor, 128), code_by_kernel(data.w, 3, grid, factor, 128));
      const std::vector<float> xs(data.x.begin(), data.x.end()), ws(data.w.begin(), data.w.end());
      OwnedRows x_rows(2, 128), w_rows(3, 128);
      code_rows(serial, {&grid, 128, factor}, 2, 128, xs.data(), 128, x_rows.view());
      code_rows(serial, {&grid, 128, factor}, 3, 128, ws.data(), 128, w_rows.view());
      CodePanels panels;
      make_panels(serial, grid, 3, 128, w_rows.view(), panels);
      float y[6];
      code_product(serial, 2, grid, x_rows.view(), panels, y, 3);
      for (std::size_t i = 0; i < 6; ++i) expect_near_float(y[i], c.y[i], "output " + std::to_string(i));
    });
  }
}

double norm(const std::vector<float>& v) {
  double sum = 0;
  for (const float value : v) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

// dX = ((dY . wq) o Mx) H and dW = ((dY^T . xq) o Mw) H, the products in double here, mask and rotation by the kernel.
TEST(OracleO7, GradientsAfterMaskAndRotation) {
  const O7 data;
  const double dy[2][3] = {{1, -.5, .25}, {-2, .75, 1.5}};
  on_every_isa([&] {
    SerialExecutor serial;
    for (const O7Case& c : kO7Cases) {
      SCOPED_TRACE(std::to_string(c.bits) + " bits");
      const Grid& grid = grid_of_bits(c.bits);
      const double factor = (c.outer > 0 ? c.outer : grid.trust_edge) * grid.alpha;
      const Coded x = code_by_kernel(data.x, 2, grid, factor, 128), w = code_by_kernel(data.w, 3, grid, factor, 128);
      std::vector<double> dx(256, 0.0), dw(384, 0.0);
      for (std::size_t m = 0; m < 2; ++m)
        for (std::size_t n = 0; n < 3; ++n)
          for (std::size_t i = 0; i < 128; ++i) {
            dx[128 * m + i] += dy[m][n] * w.value[128 * n + i];
            dw[128 * n + i] += dy[m][n] * x.value[128 * m + i];
          }
      const auto back = [&](const std::vector<double>& g, const Coded& coded, std::size_t rows) {
        std::vector<float> out(g.begin(), g.end());
        std::vector<std::uint64_t> mask(rows * 2, 0);
        for (std::size_t i = 0; i < coded.mask.size(); ++i) mask[i / 64] |= std::uint64_t{coded.mask[i]} << (i % 64);
        mask_and_rotate_rows(serial, 128, rows, 128, mask.data(), out.data(), 128);
        return out;
      };
      const std::vector<float> dx_back = back(dx, x, 2), dw_back = back(dw, w, 3);
      expect_near_float(norm(dx_back), c.dx_norm);
      expect_near_float(norm(dw_back), c.dw_norm);
      for (std::size_t i = 0; i < 2; ++i) {
        expect_near_float(dx_back[i], c.dx_first[i]);
        expect_near_float(dw_back[i], c.dw_first[i]);
      }
      if (c.bits == 4) {
        expect_near_float(std::accumulate(dx_back.begin(), dx_back.end(), 0.0), -.0939091);
        expect_near_float(std::accumulate(dw_back.begin(), dw_back.end(), 0.0), 7.0852443);
      }
    }
  });
}

TEST(OracleO7, RotationLowersTheErrorOfARowWithAnOutlierByTheStatedAmount) {
  const O7 data;
  const std::vector<double> row(data.x.begin(), data.x.begin() + 128);
  const double squares = std::inner_product(row.begin(), row.end(), row.begin(), 0.0);
  std::vector<double> row_h = row;
  reference::hadamard_row<double>(row_h, 128);
  struct Case {
    int bits;
    double with, without;
  };
  for (const Case& c :
       {Case{4, .009473, .161476}, {2, .095837, .312989}, {1, .313789, .458458}, {8, .000074, .072031}}) {
    const Grid& grid = grid_of_bits(c.bits);
    // 6 decimals are printed.
    in_double_and_by_every_kernel(row, 1, grid, 1.0, 128, [&](const Coded& coded, double tolerance) {
      EXPECT_NEAR(squared_error(row_h, coded, 128) / squares, c.with, 6e-7 + tolerance * c.with);
    });
    in_double_and_by_every_kernel(row, 1, grid, 1.0, 1, [&](const Coded& coded, double tolerance) {
      EXPECT_NEAR(squared_error(row, coded, 128) / squares, c.without, 6e-7 + tolerance * c.without);
    });
  }
}

TEST(OracleO11, FourBitProductOfTwoSmallMatrices) {
  const std::vector<double> a{.3, -.8, 1.1, 2, 0, .5, -.5, -3}, w{.02, -.05, .01, .04, -.03, 0, .06, -.01};
  const Grid& grid = grid_of_bits(4);
  const auto check_codes = [](const Coded& a_coded, const Coded& w_coded, double tolerance) {
    EXPECT_EQ(a_coded.k, (std::vector<int>{0, -2, 2, 4, 0, 0, -1, -6}));
    EXPECT_EQ(w_coded.k, (std::vector<int>{1, -5, 0, 3, -3, 0, 5, -1}));
    EXPECT_EQ(a_coded.k_sum, (std::vector<int>{4, -7}));
    expect_near(2 * a_coded.scale[0], .40846538, tolerance);
    expect_near(2 * a_coded.scale[1], .51656364, tolerance);
    expect_near(2 * w_coded.scale[0], .01136688, tolerance);
    expect_near(2 * w_coded.scale[1], .01136688, tolerance);
    const int expected[] = {22, 6, -18, 1};
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t j = 0; j < 2; ++j)
        EXPECT_EQ(std::inner_product(&a_coded.k[4 * i], &a_coded.k[4 * i] + 4, &w_coded.k[4 * j], 0),
                  expected[2 * i + j]);
  };
  const double y[] = {.11375295, .04410829, -.12330607, -.00587172};
  const Coded a_double = code_by_definition<double>(a, 2, grid, 1.0, 1),
              w_double = code_by_definition<double>(w, 2, grid, 1.0, 1);
  check_codes(a_double, w_double, kTight);
  for (std::size_t i = 0; i < 2; ++i)
    for (std::size_t j = 0; j < 2; ++j)
      // Relative to the largest output: the last is a difference of terms of that size.
      EXPECT_NEAR(std::inner_product(&a_double.value[4 * i], &a_double.value[4 * i] + 4, &w_double.value[4 * j], 0.0),
                  y[2 * i + j], kTight * .12330607);
  on_every_isa([&] {
    SerialExecutor serial;
    check_codes(code_by_kernel(a, 2, grid, 1.0, 1), code_by_kernel(w, 2, grid, 1.0, 1), kLoose);
    const std::vector<float> as(a.begin(), a.end()), ws(w.begin(), w.end());
    OwnedRows a_rows(2, 4), w_rows(2, 4);
    code_rows(serial, {&grid, 1, 1.0}, 2, 4, as.data(), 4, a_rows.view());
    code_rows(serial, {&grid, 1, 1.0}, 2, 4, ws.data(), 4, w_rows.view());
    CodePanels panels;
    make_panels(serial, grid, 2, 4, w_rows.view(), panels);
    EXPECT_EQ(panels.sum[0], -1);  // 1 - 5 + 0 + 3
    EXPECT_EQ(panels.sum[1], 1);
    float out[4];
    code_product(serial, 2, grid, a_rows.view(), panels, out, 2);
    for (std::size_t i = 0; i < 4; ++i) expect_near_float(out[i], y[i]);
  });
}

}  // namespace
}  // namespace lowbit::kernels::test
