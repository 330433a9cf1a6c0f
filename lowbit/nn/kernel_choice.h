#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "lowbit/formats/format.h"
#include "lowbit/machine/isa.h"
#include "lowbit/machine/model.h"

// Which kernel forms a product: one table of what each kernel costs, and the machine model's answer.
namespace lowbit::nn {

/// y [rows, n] = x [rows, k] w [n, k]^T in a format.
struct Product {
  std::size_t rows = 1, n = 0, k = 0;
  Format format;
  /// Weights that are gone through before these are met again (a whole model's in decoding); 0: these alone.
  double weights_in_turn = 0;
};

/// What a kernel needs for a product, as the machine model counts it.
struct Kernel {
  std::string_view name;  ///< as --kernel takes it
  std::string_view what;  ///< in words, for tables and messages
  bool (*serves)(const Format& format);      ///< which formats
  bool (*runs)(Isa isa);                     ///< on this processor, under that instruction set
  Ceiling (*unit)(const Format& format);     ///< the ceiling it multiplies under
  double (*operations)(const Format& format);        ///< of that ceiling, for one product of two numbers
  double (*bits)(const Format& format);              ///< read for one weight
  double (*instructions)(const Format& format);      ///< vector instructions for 64 weights beside the operations, once
                                                     ///< for each tile of rows
  std::size_t tile_rows;                             ///< rows that share them
};

/// Every kernel there is.
std::span<const Kernel> kernel_table();
/// nullptr when there is none of that name.
const Kernel* find_kernel(std::string_view name);

Work work_of(const Kernel& kernel, const Product& product);

struct Choice {
  const Kernel* kernel = nullptr;
  Estimate estimate;
};
/// The kernel with the least estimated time among those that serve the format and run under the instruction set in use.
/// forced   the name of the one to take, or "". throws Error(usage) when that is no kernel, or one that cannot run here
/// or serve this format: the message lists those that can.
Choice choose_kernel(const Rates& rates, const Product& product, std::string_view forced = {});

}  // namespace lowbit::nn
