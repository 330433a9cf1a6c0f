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
  bool sliced = false;  ///< rows of w have several scales, each of some columns
};

/// The form of the weights that a kernel reads, and with it the product's function.
enum class KernelId { codes, packed, planes, floats, bf16 };

/// What a kernel needs for a product, as the machine model counts it.
struct Kernel {
  KernelId id;
  std::string_view name;                         ///< as --kernel takes it
  std::string_view what;                         ///< in words, for tables and messages
  bool (*serves)(const Format& format);          ///< which formats
  bool (*runs)(Isa isa);                         ///< on this processor, under that instruction set
  Ceiling (*unit)(const Format& format);         ///< the ceiling it multiplies under
  double (*operations)(const Format& format);    ///< of that ceiling, for one product of two numbers
  double (*bits)(const Format& format);          ///< read for one weight
  double (*instructions)(const Format& format);  ///< vector instructions for 64 weights beside the operations, once
                                                 ///< for each tile of rows
  std::size_t tile_rows;                         ///< rows that share them
  bool slices;  ///< whether it takes columns of longer rows, as several scales a row need
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
/// The kernel with the least estimated time for this product alone, among those that serve the format and run under the
/// instruction set in use.
Choice choose_kernel(const Rates& rates, const Product& product);

/// What weights are laid out for: they lie in one form, whatever the rows they will meet.
enum class Purpose {
  run,    ///< as much time for a token of a prompt (512 rows) as for one that is written (1 row, weights out of memory)
  train,  ///< many rows
};
/// The kernel with the least time for that purpose, or the forced one where it serves the format. Rates are those of
/// set_kernel_rates, else typical_rates(active_isa(), threads).
const Kernel& kernel_for_weights(const Format& format, std::size_t n, std::size_t k, Purpose purpose, int threads,
                                 bool sliced = false);

/// That kernel of a running model's weights, and what it could attain for this product.
Choice choice_for_weights(const Rates& rates, const Product& product);

/// From here on choices go by these rates. Call it before weights are made and other threads compute.
void set_kernel_rates(const Rates& rates);
/// From here on weights whose format this kernel serves are laid out for it; "" forces none. The bits of the products
/// stay the same. format, sliced   of the layers that it is meant for.
/// throws Error(usage) when there is no such kernel, or it cannot run here or serve the format: the message lists those
/// that can.
void force_kernel(std::string_view name, const Format& format, bool sliced = false);

}  // namespace lowbit::nn
