#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "lowbit/bench/measure.h"
#include "lowbit/bench/table.h"
#include "lowbit/files/json.h"
#include "lowbit/formats/format.h"

namespace lowbit::cli {

/// One figure of `bench`.
struct BenchResult {
  std::string what, format;
  Format head;
  std::string kernel;  ///< or ""
  int threads = 1;
  std::int64_t batch = 1;
  std::string_view unit;  ///< tok/s, GOP/s
  Figure value;
  Ceiling bound = Ceiling::int8;
  double bytes_per_token = 0;  ///< 0: not bound by reading
  bench::Beside beside;
};

/// throws Error(usage): none of table, md, csv, json.
void check_output_form(std::string_view form);

/// Gathers results and prints them as a table, Markdown, CSV or JSON; says when the machine was busy.
class BenchOutput {
 public:
  BenchOutput(std::string form, int rounds, std::string name);
  void add(const BenchResult& result);
  void print() const;

 private:
  std::string form_;
  int rounds_;
  std::string name_;
  bench::Table table_;
  files::Json list_ = files::Json::array();
  Load worst_;
  bool busy_ = false;
};

}  // namespace lowbit::cli
