#include <memory>

#include "lowbit/base/error.h"
#include "lowbit/base/file_write.h"
#include "lowbit/base/progress.h"
#include "lowbit/cli/command.h"
#include "lowbit/cli/law_flags.h"
#include "lowbit/files/json.h"
#include "lowbit/laws/points.h"
#include "lowbit/study/page.h"

namespace lowbit::cli {
namespace {

struct ReportFlags {
  std::vector<std::filesystem::path> runs;
  std::filesystem::path out;
  std::string title = "Study", base, fit_below;
  std::vector<std::string> label, hold;
  int bootstrap = 200;
  bool json = false;
};

}  // namespace

void add_report(CLI::App& verb) {
  auto f = std::make_shared<ReportFlags>();
  add_option(verb, "runs", f->runs, "run folders, or folders of them (a sweep's)")->required();
  add_option(verb, "--out", f->out, "page to write, as study.html")->required();
  add_option(verb, "--title", f->title, "of the page")->capture_default_str();
  add_option(verb, "--label", f->label, "flags whose values tell formats apart, as lr or recipe");
  add_option(verb, "--base", f->base, "format with eff 1 (default bf16, else another of full precision)");
  add_option(verb, "--hold", f->hold, "NAME=VALUE: a constant of the laws that is not sought, as with fit");
  add_option(verb, "--fit-below", f->fit_below,
             "fit the laws to runs of fewer parameters than this, foretell the others");
  add_option(verb, "--bootstrap", f->bootstrap, "resamples for the laws' intervals; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  add_flag(verb, "--json", f->json, "print where the page lies as JSON, for machines");
  verb.callback([f] {
    study::PageOptions options;
    options.title = f->title;
    options.fit.base = f->base;
    options.fit.bootstrap = f->bootstrap;
    options.fit.hold = parse_holds(f->hold);
    if (!f->fit_below.empty()) options.fit.fit_below = parse_count_flag("--fit-below", f->fit_below, "parameters");
    std::vector<study::Run> runs;
    std::size_t done = 0;
    std::vector<std::string> notes;
    for (const auto& folder : study::run_folders(f->runs, &notes)) {
      runs.push_back(study::read_run(folder, f->label));
      done += runs.back().eval.has_value();
    }
    options.remark = study::take_out_shared(runs, f->label);
    for (const std::string& note : notes) fmt::print(stderr, "{}\n", note);
    const std::string page = study::study_page(runs, options);
    write_file(f->out, page);
    if (f->json)
      fmt::print("{}\n",
                 files::dump_line(files::Json{{"page", f->out.string()}, {"runs", runs.size()}, {"done", done}}));
    else
      fmt::print("{}: {} runs, {} of them done, {}\n", f->out.string(), runs.size(), done,
                 human_bytes(static_cast<double>(page.size())));
  });
}

}  // namespace lowbit::cli
