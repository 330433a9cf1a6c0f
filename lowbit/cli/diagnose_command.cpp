#include <memory>

#include "lowbit/autograd/torch_executor.h"
#include "lowbit/base/error.h"
#include "lowbit/base/file_write.h"
#include "lowbit/base/words.h"
#include "lowbit/bench/table.h"
#include "lowbit/cli/command.h"
#include "lowbit/files/json.h"
#include "lowbit/files/run_folder.h"
#include "lowbit/files/token_shard.h"
#include "lowbit/model/model_folder.h"
#include "lowbit/text/data_folder.h"
#include "lowbit/train/diagnose.h"

namespace lowbit::cli {
namespace {

namespace fs = std::filesystem;

struct DiagnoseFlags {
  CommonFlags common;
  train::DiagnoseOptions options;
  fs::path data, batches;
  std::string against = "a16";
  bool save = false;
};

files::Json to_json(const train::SideDiagnosis& s) {
  const auto expected = [&](double GaussianCoding::*what) {
    return s.normal ? files::Json((*s.normal).*what) : files::Json();
  };
  return {{"error", s.error}, {"normal_error", expected(&GaussianCoding::error)}, {"masked", s.masked},
          {"normal_masked", expected(&GaussianCoding::masked)}};
}
files::Json to_json(const std::optional<train::SideDiagnosis>& s) { return s ? to_json(*s) : files::Json(); }

files::Json to_json(const train::Diagnosis& d) {
  files::Json json;
  json["format"] = d.format;
  json["reference"] = d.reference;
  json["tokens"] = d.tokens;
  json["blocks"] = files::Json::array();
  for (const auto& b : d.blocks)
    json["blocks"].push_back({{"layer", b.layer}, {"cosine", b.cosine}, {"norm_ratio", b.norm_ratio}});
  json["layers"] = files::Json::array();
  for (const auto& l : d.layers)
    json["layers"].push_back({{"name", l.name}, {"weight", to_json(l.weight)}, {"input", to_json(l.input)}});
  json["changes"] = files::Json::array();
  for (const auto& c : d.changes)
    json["changes"].push_back({{"name", c.name}, {"masked_before", c.masked_before}, {"masked_now", c.masked_now},
                               {"still_masked", c.still_masked}, {"codes_changed", c.codes_changed}});
  return json;
}

std::string share(double x) { return x == 0 ? "0 %" : fmt::format("{} %", bench::short_number(100 * x)); }

void print(const train::Diagnosis& d) {
  fmt::print("Gradients of the residual stream after each block: {} compared with {}, over {}\n", d.format, d.reference,
             counted(d.tokens, "token"));
  bench::Table blocks{{"block", "cosine", "length, with / without"}, {}, 1};
  for (const auto& b : d.blocks)
    blocks.rows.push_back(
        {std::to_string(b.layer), fmt::format("{:.4f}", b.cosine), fmt::format("{:.3f}", b.norm_ratio)});
  fmt::print("{}\n", blocks.text());
  fmt::print(
      "Quantization: relative squared error and share of masked entries; \"normal\" is the value for a normal variable "
      "(-: not quantized, or unknown)\n");
  bench::Table layers{
      {"layer", "weight error", "normal", "masked", "normal", "input error", "normal", "masked", "normal"}, {}, 1};
  for (const auto& l : d.layers) {
    std::vector<std::string> row{l.name};
    const auto add = [&](const std::optional<train::SideDiagnosis>& s) {
      const auto expected = [&](double GaussianCoding::*what) {
        return s && s->normal ? share((*s->normal).*what) : "-";
      };
      row.insert(row.end(), {s ? share(s->error) : "-", expected(&GaussianCoding::error), s ? share(s->masked) : "-",
                             expected(&GaussianCoding::masked)});
    };
    add(l.weight);
    add(l.input);
    layers.rows.push_back(row);
  }
  fmt::print("{}", layers.text());
  if (d.changes.empty()) return;
  fmt::print("\nSince the earlier checkpoint\n");
  bench::Table changes{{"layer", "masked then", "masked now", "still masked", "codes changed"}, {}, 1};
  for (const auto& c : d.changes)
    changes.rows.push_back(
        {c.name, share(c.masked_before), share(c.masked_now), share(c.still_masked), share(c.codes_changed)});
  fmt::print("{}", changes.text());
}

}  // namespace

void add_diagnose(CLI::App& verb) {
  auto f = std::make_shared<DiagnoseFlags>();
  train::DiagnoseOptions& o = f->options;
  add_option(verb, "--model", o.model, "run folder or checkpoint of a low-bit format")->required()->type_name("DIR");
  add_option(verb, "--data", f->data, "data folder: use windows of its held-out part")->type_name("DIR");
  add_option(verb, "--batches", f->batches, "file of raw uint16 windows [n, seq + 1] instead")->type_name("FILE");
  add_option(verb, "--earlier", o.earlier, "earlier checkpoint: report which masks and codes changed since")
      ->type_name("DIR");
  add_choice(verb, "--against", f->against, {"a16", "bf16"},
             "reference of the gradients. a16: the same weights with float activations; bf16: no quantization");
  add_option(verb, "--windows", o.windows, {1, 1 << 20}, "windows of text, all in memory at once");
  add_option(verb, "--seq", o.length, {1}, "tokens per window")->default_str("the model's context");
  add_flag(verb, "--save", f->save, "also write diagnosis.json into the run folder, for lowbit report");
  add_common(verb, f->common);
  verb.callback([f] {
    train::DiagnoseOptions& options = f->options;
    const fs::path asked = options.model;
    if (f->save && !files::is_run_folder(asked))
      fail_usage("--save writes into a run folder, which {} is not; name the folder that `lowbit train --out` made",
                 asked.string());
    if (f->data.empty() == f->batches.empty()) fail_usage("say on what: --data DIR or --batches FILE");
    const int threads = apply_common(f->common);
    options.against_bf16 = f->against == "bf16";
    options.model = files::resolve_model(options.model);
    const model::ModelFolder folder(options.model);
    if (options.length == 0) options.length = folder.config().positions;
    if (options.length > folder.config().positions)
      fail_usage("--seq {} is beyond the model's context of {}", options.length, folder.config().positions);
    std::unique_ptr<text::DataFolder> data;
    std::unique_ptr<train::Feed> feed;
    if (!f->data.empty()) {
      data = std::make_unique<text::DataFolder>(f->data);
      data->valid().verify();
      text::require_same_tokenizer(data->valid(), options.model, folder.config().vocab, "--model");
      feed = train::shard_feed(data->valid(), options.length, 0);
    } else {
      feed = train::batches_feed(f->batches, options.length, folder.config().vocab);
    }
    if (static_cast<std::uint64_t>(options.windows) > feed->windows())
      fail_usage("--windows {} is more than the {} that there are", options.windows, feed->windows());
    autograd::TorchExecutor executor(threads);
    const train::Diagnosis diagnosis = train::diagnose(executor, options, *feed);
    if (f->save) write_file(asked / "diagnosis.json", files::dump_line(to_json(diagnosis)) + "\n");
    if (f->common.json)
      fmt::print("{}\n", files::dump_line(to_json(diagnosis)));
    else
      print(diagnosis);
  });
}

}  // namespace lowbit::cli
