#include "lowbit/bench/ceiling_cache.h"

#include <cstdlib>
#include <string>

#include "lowbit/base/error.h"
#include "lowbit/base/file_write.h"
#include "lowbit/nn/kernel_choice.h"

namespace lowbit::bench {
namespace {

namespace fs = std::filesystem;
using files::Json;

Figure parse_figure(const Json& json, std::string_view where) {
  const Figure f{files::required<double>(json, "median", where), files::required<double>(json, "lowest", where),
                 files::required<double>(json, "highest", where)};
  if (!(f.lowest > 0 && f.lowest <= f.median && f.median <= f.highest && f.highest < 1e18))
    fail_input("{}: {} is no measured rate", where, files::json_excerpt(json));
  return f;
}

Json table_json(const CeilingTable& table) {
  Json json;
  for (std::size_t i = 0; i < kCeilings; ++i)
    json[std::string(ceiling_name(static_cast<Ceiling>(i)))] = json_of(table[i]);
  return json;
}

CeilingTable parse_table(const Json& json, std::string_view where) {
  CeilingTable table;
  for (std::size_t i = 0; i < kCeilings; ++i)
    table[i] = parse_figure(files::required<Json>(json, ceiling_name(static_cast<Ceiling>(i)), where), where);
  return table;
}

fs::path cache_folder() {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  if (xdg && *xdg) return fs::path(xdg) / "lowbit";
  const char* home = std::getenv("HOME");
  return home && *home ? fs::path(home) / ".cache/lowbit" : fs::path();
}

}  // namespace

Json json_of(const Figure& f) { return {{"median", f.median}, {"lowest", f.lowest}, {"highest", f.highest}}; }

Json json_of(const Ceilings& c) {
  Json json;
  json["version"] = LOWBIT_VERSION;
  json["processor"] = c.processor;
  json["isa"] = isa_name(c.isa);
  json["threads"] = c.threads;
  json["caches"] = {{"L1", c.caches.l1}, {"L2", c.caches.l2}, {"L3", c.caches.l3}};
  json["load"] = {{"steal", c.load.steal}, {"others", c.load.others}, {"average", c.load.average}};
  json["one_thread"] = table_json(c.one);
  json["all_threads"] = table_json(c.all);
  return json;
}

Ceilings parse_ceilings(const Json& json, std::string_view where) {
  using files::required;
  if (required<std::string>(json, "version", where) != LOWBIT_VERSION)
    fail_input("{}: measured by another version of this program", where);
  Ceilings c;
  c.processor = required<std::string>(json, "processor", where);
  c.isa = isa_by_name(required<std::string>(json, "isa", where));
  c.threads = required<int>(json, "threads", where);
  const Json caches = required<Json>(json, "caches", where), load = required<Json>(json, "load", where);
  c.caches = {required<std::size_t>(caches, "L1", where), required<std::size_t>(caches, "L2", where),
              required<std::size_t>(caches, "L3", where)};
  c.load = {required<double>(load, "steal", where), required<double>(load, "others", where),
            required<double>(load, "average", where)};
  c.one = parse_table(required<Json>(json, "one_thread", where), where);
  c.all = parse_table(required<Json>(json, "all_threads", where), where);
  return c;
}

fs::path ceiling_file(int threads) {
  const fs::path folder = cache_folder();
  if (folder.empty()) return {};
  std::string name =
      fmt::format("ceilings-{}-{}-{}-{}", cpu_features().name, isa_name(active_isa()), threads, LOWBIT_VERSION);
  for (char& c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
    if (!plain) c = '_';
  }
  return folder / (name + ".json");
}

namespace {

/// The same name may stand for another machine: what is told of the caches must agree as well.
bool is_of_this_machine(const Ceilings& c, int threads) {
  return c.processor == cpu_features().name && c.isa == active_isa() && c.threads == threads &&
         c.caches == cache_sizes();
}

}  // namespace

void use_kept_rates(int threads) {
  nn::set_kernel_rates(typical_rates(active_isa(), threads));
  const fs::path file = ceiling_file(threads);
  std::error_code code;
  if (file.empty() || !fs::exists(file, code)) return;
  try {
    const Ceilings kept = parse_ceilings(files::read_json(file), file.string());
    if (is_of_this_machine(kept, threads)) nn::set_kernel_rates(rates_of(kept, threads));
  } catch (const Error&) {
    // `roofline` says what is wrong with the file and measures again.
  }
}

Ceilings kept_or_measured_ceilings(Executor& executor, int rounds, bool fresh,
                                   const std::function<void(std::string_view)>& say) {
  const fs::path file = ceiling_file(executor.threads());
  std::error_code code;
  if (!fresh && !file.empty() && fs::exists(file, code)) {
    try {
      Ceilings kept = parse_ceilings(files::read_json(file), file.string());
      if (is_of_this_machine(kept, executor.threads())) return kept;
      say(fmt::format("{} was measured on another machine; measuring anew", file.string()));
    } catch (const Error& error) {
      say(fmt::format("the kept ceilings cannot be used ({}); measuring anew", error.what()));
    }
  }
  const Ceilings measured = measure_ceilings(executor, rounds);
  if (file.empty()) return measured;
  try {
    make_folder(file.parent_path());
    write_file(file, files::dump_pretty(json_of(measured)));
  } catch (const Error& error) {
    say(fmt::format("the ceilings are not kept for the next time: {}", error.what()));
  }
  return measured;
}

}  // namespace lowbit::bench
