#include <memory>

#include "lowbit/base/progress.h"
#include "lowbit/cli/command.h"
#include "lowbit/compress/pack.h"
#include "lowbit/files/json.h"
#include "lowbit/files/run_folder.h"

namespace lowbit::cli {

void add_pack(CLI::App& verb) {
  struct Flags {
    CommonFlags common;
    std::filesystem::path model, out;
  };
  auto f = std::make_shared<Flags>();
  add_option(verb, "--model", f->model, "model folder or run folder to pack")->required()->type_name("DIR");
  add_option(verb, "--out", f->out, "folder to create")->required()->type_name("DIR");
  add_common(verb, f->common);
  verb.callback([f] {
    ThreadPool pool(apply_common(f->common));
    const compress::PackSummary s = compress::pack(pool, files::resolve_model(f->model), f->out);
    const double bits =
        s.coded_weights > 0 ? 8.0 * static_cast<double>(s.coded_bytes) / static_cast<double>(s.coded_weights) : 0;
    if (f->common.json) {
      files::Json json;
      json["bytes_before"] = s.bytes_before;
      json["bytes_after"] = s.bytes_after;
      json["coded_weights"] = s.coded_weights;
      json["bits_per_coded_weight"] = bits;
      fmt::print("{}\n", files::dump_line(json));
      return;
    }
    fmt::print("{}: {} -> {} ({:.1f} times smaller); {} weights coded at {:.3f} bits each, scales included\n",
               f->out.string(), human_bytes(static_cast<double>(s.bytes_before)),
               human_bytes(static_cast<double>(s.bytes_after)),
               static_cast<double>(s.bytes_before) / static_cast<double>(s.bytes_after),
               human_count(static_cast<double>(s.coded_weights)), bits);
  });
}

}  // namespace lowbit::cli
