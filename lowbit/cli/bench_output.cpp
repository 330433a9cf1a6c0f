#include "lowbit/cli/bench_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "lowbit/base/error.h"
#include "lowbit/base/words.h"
#include "lowbit/bench/ceiling_cache.h"
#include "lowbit/machine/isa.h"

namespace lowbit::cli {

using bench::short_number;
using files::Json;

void check_output_form(std::string_view form) {
  if (form != "table" && form != "md" && form != "csv" && form != "json")
    fail_usage("unknown --output '{}'; choose table, md, csv or json", form);
}

BenchOutput::BenchOutput(std::string form, int rounds, std::string name)
    : form_(std::move(form)), rounds_(rounds), name_(std::move(name)) {
  table_.headings = {"what", "format", "head",    "kernel",  "isa", "threads", "batch",    "median",
                     "unit", "range",  "share %", "range %", "of",  "ceiling", "MB/token", "note"};
  table_.left = 5;
}

void BenchOutput::add(const BenchResult& r) {
  const bench::Beside& b = r.beside;
  busy_ = busy_ || b.busy();
  worst_ = {std::max(worst_.steal, b.load.steal), std::max(worst_.others, b.load.others),
            std::max(worst_.average, b.load.average)};
  const auto percent = [](double share) { return fmt::format("{:.1f}", 100 * share); };
  table_.rows.push_back(
      {r.what, r.format, r.head.name(), r.kernel, std::string(isa_name(active_isa())),
       std::to_string(r.threads), std::to_string(r.batch), short_number(r.value.median), std::string(r.unit),
       fmt::format("{}..{}", short_number(r.value.lowest), short_number(r.value.highest)), percent(b.share.median),
       percent(b.share.lowest) + ".." + percent(b.share.highest), std::string(ceiling_name(r.bound)),
       fmt::format("{} {}", short_number(b.ceiling.median / 1e9), ceiling_unit(r.bound)),
       r.bytes_per_token > 0 ? short_number(r.bytes_per_token / 1e6) : "", b.busy() ? "busy" : ""});
  Json json = {{"what", r.what}, {"format", r.format}, {"head", r.head.name()}};
  if (!r.kernel.empty()) json["kernel"] = r.kernel;
  json["isa"] = isa_name(active_isa());
  json["threads"] = r.threads;
  json["batch"] = r.batch;
  json["unit"] = r.unit;
  json["value"] = bench::json_of(r.value);
  json["share"] = bench::json_of(b.share);
  json["ceiling"] = {{"name", ceiling_name(r.bound)}, {"per_second", bench::json_of(b.ceiling)}};
  if (r.bytes_per_token > 0) json["bytes_per_token"] = r.bytes_per_token;
  json["load"] = {{"steal", b.load.steal}, {"others", b.load.others}, {"average", b.load.average}};
  json["busy"] = b.busy();
  list_.push_back(std::move(json));
}

void BenchOutput::print() const {
  if (form_ == "json") {
    const Json json = {{"model", name_},
                       {"processor", cpu_features().name},
                       {"rounds", rounds_},
                       {"busy", busy_},
                       {"results", list_}};
    fmt::print("{}", files::dump_pretty(json));
    return;
  }
  if (form_ == "csv") {
    fmt::print("{}", table_.csv());
  } else {
    fmt::print("{}, {}, {} interleaved with the ceiling\n\n", name_, cpu_features().name, counted(rounds_, "round"));
    fmt::print("{}", form_ == "md" ? table_.markdown() : table_.text());
  }
  if (busy_)
    fmt::print(stderr,
               "lowbit: the machine was busy (others up to {:.0f} % of the processors, stolen up to {:.0f} %, load "
               "{:.1f}, or rounds "
               "that differ widely): figures marked busy are not reliable; measure again when it is idle\n",
               100 * worst_.others, 100 * worst_.steal, worst_.average);
}

}  // namespace lowbit::cli
