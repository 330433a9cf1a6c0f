#include <memory>

#include "lowbit/base/error.h"
#include "lowbit/base/file_write.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/progress.h"
#include "lowbit/base/words.h"
#include "lowbit/cli/command.h"
#include "lowbit/cli/law_flags.h"
#include "lowbit/files/json.h"
#include "lowbit/laws/points.h"
#include "lowbit/study/page.h"

namespace lowbit::cli {
namespace {

constexpr char kStopped[] = "stopped; no page was written";

struct ReportFlags {
  std::vector<std::filesystem::path> runs;
  std::filesystem::path out;
  std::string title = "Study", base;
  double fit_below = 0;  ///< parameters; 0: all runs
  std::vector<std::string> label, hold;
  int bootstrap = 200;
  bool json = false;
};

}  // namespace

void add_report(CLI::App& verb) {
  auto f = std::make_shared<ReportFlags>();
  add_option(verb, "runs", f->runs,
             "run folders, folders that hold run folders (such as that of a sweep), or CSV files as sweep writes")
      ->required()
      ->type_name("PATH");
  add_option(verb, "--out", f->out, "HTML page to write")->required()->type_name("FILE");
  add_option(verb, "--title", f->title, "title of the page");
  add_option(verb, "--label", f->label,
             "flags of train whose values distinguish runs of one format, such as lr or recipe")
      ->type_name("FLAG");
  add_option(verb, "--base", f->base, "format with an efficiency of 1")
      ->type_name("FORMAT")
      ->default_str("bf16, else another 16- or 32-bit format of the runs");
  add_option(verb, "--hold", f->hold, "fix a constant of the laws, as with lowbit fit")->type_name("NAME=VALUE");
  add_quantity(verb, "--fit-below", f->fit_below,
               "fit only runs with fewer parameters than this, and predict the others")
      ->default_str("fit all runs");
  add_option(verb, "--bootstrap", f->bootstrap, {0, 100'000},
             "bootstrap resamples for the intervals of the laws; 0: no intervals");
  add_flag(verb, "--json", f->json, "print a summary as JSON");
  verb.callback([f] {
    study::PageOptions options;
    options.title = f->title;
    options.fit.base = f->base;
    options.fit.bootstrap = f->bootstrap;
    options.fit.hold = parse_holds(f->hold);
    if (f->fit_below > 0) options.fit.fit_below = f->fit_below;
    std::vector<study::Run> runs;
    std::size_t done = 0;
    std::vector<std::string> notes;
    std::vector<std::filesystem::path> folders;
    for (const auto& path : f->runs) {
      check_interrupt(kStopped);
      std::error_code ignored;
      if (!std::filesystem::is_regular_file(path, ignored) || path.extension() != ".csv") {
        folders.push_back(path);
        continue;
      }
      for (study::Run& run : study::read_table(path, f->label)) runs.push_back(std::move(run));
      done = runs.size();
    }
    if (!folders.empty()) folders = study::run_folders(folders, &notes);
    for (const auto& folder : folders) {
      check_interrupt(kStopped);
      runs.push_back(study::read_run(folder, f->label));
      done += runs.back().eval.has_value();
    }
    options.remark = study::take_out_shared(runs, f->label);
    for (const std::string& note : notes) fmt::print(stderr, "{}\n", note);
    const std::string page = study::study_page(runs, options);
    check_interrupt(kStopped);
    write_file(f->out, page);
    if (f->json)
      fmt::print("{}\n",
                 files::dump_line(files::Json{{"page", f->out.string()}, {"runs", runs.size()}, {"done", done}}));
    else
      fmt::print("{}: {}, {} finished, {}\n", f->out.string(), counted(runs.size(), "run"), done,
                 human_bytes(static_cast<double>(page.size())));
  });
}

}  // namespace lowbit::cli
