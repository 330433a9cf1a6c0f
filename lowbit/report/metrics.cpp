#include "lowbit/report/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"
#include "lowbit/files/json.h"
#include "lowbit/report/text.h"

namespace lowbit::report {
namespace {

using files::Json;
constexpr std::size_t kLargestInfo = std::size_t{16} << 20;  // of run.json
constexpr std::size_t kLargestFile = std::size_t{4} << 30;

// ---- writing ----

std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json number_json(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }
Json interval_json(const std::optional<Interval>& interval) {
  return interval ? Json::array({number_json(interval->low), number_json(interval->high)}) : Json(nullptr);
}

// ---- reading: a missing or odd field is "not known", never an error ----

const Json* field(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() ? nullptr : &*it;
}
const Json& part(const Json& object, const char* key) {
  static const Json none = Json::object();
  const Json* found = field(object, key);
  return found && found->is_object() ? *found : none;
}
double real(const Json* json) { return json && json->is_number() ? json->get<double>() : kUnknown; }
double real(const Json& object, const char* key) { return real(field(object, key)); }
std::optional<std::int64_t> whole(const Json* json) {
  const double value = real(json);
  constexpr double limit = 9007199254740992.0;  // 2^53: larger counts would not be exact, and are no counts
  if (!(value >= -limit && value <= limit)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}
std::int64_t whole(const Json& object, const char* key) { return whole(field(object, key)).value_or(0); }
std::string text(const Json& object, const char* key) {
  const Json* found = field(object, key);
  return found && found->is_string() ? found->get<std::string>() : std::string();
}
std::optional<Interval> interval(const Json& object, const char* key) {
  const Json* found = field(object, key);
  if (!found || !found->is_array() || found->size() != 2) return std::nullopt;
  const Interval result{real(&(*found)[0]), real(&(*found)[1])};
  if (!std::isfinite(result.low) || !std::isfinite(result.high)) return std::nullopt;
  return result;
}
std::string shown(const Json& value) {  // a flag of any type as a person would type it
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "";
  if (value.is_array()) {
    std::string all;
    for (const Json& element : value) all += (all.empty() ? "" : ", ") + shown(element);
    return all;
  }
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// The value that the bytes hold, or null where they are not JSON as our files have it.
Json parse(std::string_view bytes) {
  try {
    return files::parse_json(valid_utf8(bytes), "");
  } catch (const Error&) {
    return nullptr;
  }
}

// A record with its step, or nothing.
std::optional<std::int64_t> step_of(const Json& json) {
  const auto step = whole(field(json, "step"));
  return step && *step >= 0 && field(json, "kind") ? step : std::nullopt;
}

// Appends; what stands later in the file replaces what stood there for the same step and behind it.
template <class Record>
void add(std::vector<Record>* records, Record record, bool several_a_step = false) {
  while (!records->empty() &&
         (records->back().step > record.step || (!several_a_step && records->back().step == record.step)))
    records->pop_back();
  records->push_back(std::move(record));
}

BitsRecord bits_record(const Json& json, std::int64_t step) {
  const Json& uniform = part(json, "uniform");
  BitsRecord r;
  r.step = step;
  r.loss = real(json, "loss");
  r.budget = real(json, "budget");
  r.bits = real(json, "bits");
  r.cost_before = real(json, "cost_before");
  r.cost = real(json, "cost");
  r.uniform = text(uniform, "format");
  r.uniform_bits = real(uniform, "bits");
  r.uniform_cost = real(uniform, "cost");
  for (const auto& [name, layer] : part(json, "layers").items()) {
    LayerBits bits{name,
                   real(layer, "alpha"),
                   real(layer, "alpha_error"),
                   text(layer, "format"),
                   real(layer, "bits"),
                   real(layer, "cost"),
                   {},
                   {}};
    for (const auto& [format, choice] : part(layer, "choices").items())
      bits.choices.push_back({format, real(choice, "bits"), real(choice, "error")});
    if (const Json* samples = field(layer, "samples"); samples && samples->is_array())
      for (const Json& sample : *samples)
        if (sample.is_array() && sample.size() == 2) bits.samples.emplace_back(real(&sample[0]), real(&sample[1]));
    r.layers.push_back(std::move(bits));
  }
  return r;
}

void add_record(const Json& json, std::int64_t step, RunRecords* out) {
  const std::string kind = text(json, "kind");
  if (kind == "step") {
    add(&out->steps,
        StepRecord{step, real(json, "loss"), real(json, "lr"), real(json, "grad_norm"), whole(json, "tokens"),
                   real(json, "seconds"), real(json, "tok_s"), real(json, "peak_share")});
  } else if (kind == "eval") {
    const auto bits = [](const Json& of) {
      const double value = real(of, "bits_per_byte");
      return std::isfinite(value) ? std::optional(value) : std::nullopt;
    };
    EvalRecord record{step, real(json, "nats_per_token"), interval(json, "nats_per_token_interval"), bits(json),
                      interval(json, "bits_per_byte_interval"), whole(json, "tokens"), whole(field(json, "bytes")),
                      real(json, "seconds")};
    if (const Json& first = part(json, "first"); std::isfinite(real(first, "nats_per_token")))
      record.first = EvalRecord::First{real(first, "nats_per_token"), bits(first), whole(first, "tokens")};
    add(&out->evals, std::move(record));
  } else if (kind == "masks") {
    MasksRecord record{step, {}};
    for (const auto& [name, shares] : part(json, "layers").items())
      record.layers.push_back({name, real(shares, "weight"), real(shares, "input")});
    add(&out->masks, std::move(record));
  } else if (kind == "bits") {
    add(&out->bits, bits_record(json, step));
  } else if (kind == "sample") {
    add(&out->samples, SampleRecord{step, text(json, "prompt"), text(json, "text")}, true);
  } else if (kind == "event") {
    out->events.push_back({step, text(json, "what"), text(json, "detail")});
  }
  // Other kinds belong to later versions, and are not for this reader.
}

}  // namespace

std::string to_line(const StepRecord& r) {
  return dump({{"kind", "step"},
               {"step", r.step},
               {"loss", number_json(r.loss)},
               {"lr", number_json(r.lr)},
               {"grad_norm", number_json(r.grad_norm)},
               {"tokens", r.tokens},
               {"seconds", number_json(r.seconds)},
               {"tok_s", number_json(r.tok_s)},
               {"peak_share", number_json(r.peak_share)}});
}

std::string to_line(const EvalRecord& r) {
  Json line = {{"kind", "eval"},
               {"step", r.step},
               {"nats_per_token", number_json(r.nats_per_token)},
               {"nats_per_token_interval", interval_json(r.nats_per_token_interval)},
               {"bits_per_byte", number_json(r.bits_per_byte.value_or(kUnknown))},
               {"bits_per_byte_interval", interval_json(r.bits_per_byte_interval)},
               {"tokens", r.tokens},
               {"bytes", r.bytes ? Json(*r.bytes) : Json(nullptr)},
               {"seconds", number_json(r.seconds)}};
  if (r.first)
    line["first"] = {{"nats_per_token", number_json(r.first->nats_per_token)},
                     {"bits_per_byte", number_json(r.first->bits_per_byte.value_or(kUnknown))},
                     {"tokens", r.first->tokens}};
  return dump(line);
}

std::string to_line(const MasksRecord& r) {
  Json layers = Json::object();
  for (const LayerMasks& layer : r.layers)
    layers[layer.layer] = {{"weight", number_json(layer.weight)}, {"input", number_json(layer.input)}};
  return dump({{"kind", "masks"}, {"step", r.step}, {"layers", std::move(layers)}});
}

namespace {
Json bits_json(const BitsRecord& r) {
  Json layers = Json::object();
  for (const LayerBits& layer : r.layers) {
    Json choices = Json::object(), samples = Json::array();
    for (const BitsChoice& c : layer.choices)
      choices[c.format] = {{"bits", number_json(c.bits)}, {"error", number_json(c.error)}};
    for (const auto& [size, change] : layer.samples)
      samples.push_back(Json::array({number_json(size), number_json(change)}));
    layers[layer.layer] = {{"alpha", number_json(layer.alpha)}, {"alpha_error", number_json(layer.alpha_error)},
                           {"format", layer.format},            {"bits", number_json(layer.bits)},
                           {"cost", number_json(layer.cost)},   {"choices", choices},
                           {"samples", samples}};
  }
  Json uniform = Json(nullptr);
  if (!r.uniform.empty())
    uniform = {{"format", r.uniform}, {"bits", number_json(r.uniform_bits)}, {"cost", number_json(r.uniform_cost)}};
  return {{"kind", "bits"},
          {"step", r.step},
          {"loss", number_json(r.loss)},
          {"budget", number_json(r.budget)},
          {"bits", number_json(r.bits)},
          {"cost_before", number_json(r.cost_before)},
          {"cost", number_json(r.cost)},
          {"uniform", uniform},
          {"layers", std::move(layers)}};
}
}  // namespace

std::string to_line(const BitsRecord& r) { return dump(bits_json(r)); }
std::string to_json(const BitsRecord& r) { return dump(bits_json(r), 2); }

std::string to_line(const SampleRecord& r) {
  return dump({{"kind", "sample"}, {"step", r.step}, {"prompt", r.prompt}, {"text", r.text}});
}

std::string to_line(const EventRecord& r) {
  return dump({{"kind", "event"}, {"step", r.step}, {"what", r.what}, {"detail", r.detail}});
}

std::string to_json(const RunInfo& info) {
  Json flags = Json::object();
  for (const auto& [name, value] : info.flags) flags[name] = value;
  Json data = Json::object();
  for (const auto& [name, hash] : info.data) data[name] = hash;
  const auto& m = info.model;
  const auto& s = info.sizes;
  return dump(
      {{"version", 1},
       {"program", info.program},
       {"flags", std::move(flags)},
       {"data", std::move(data)},
       {"format", info.format},
       {"head", info.head},
       {"estimator", info.estimator},
       {"transform", info.transform},
       {"model",
        {{"layers", m.layers},
         {"width", m.width},
         {"heads", m.heads},
         {"kv_heads", m.kv_heads},
         {"mlp", m.mlp},
         {"vocab", m.vocab},
         {"seq", m.seq},
         {"parameters", m.parameters},
         {"block_parameters", m.block_parameters}}},
       {"steps", info.steps},
       {"tokens_per_step", info.tokens_per_step},
       {"machine",
        {{"cpu", info.machine.cpu},
         {"isa", info.machine.isa},
         {"threads", info.machine.threads},
         {"peak_gflops", number_json(info.machine.peak_gflops)}}},
       {"predicted", {{"memory_bytes", info.predicted.memory_bytes}, {"seconds", number_json(info.predicted.seconds)}}},
       {"sizes",
        {{"codes", s.codes},
         {"scales", s.scales},
         {"head", s.head},
         {"embedding", s.embedding},
         {"norms", s.norms},
         {"total", s.total}}}},
      2);
}

std::optional<RunInfo> parse_run_info(std::string_view bytes) {
  const Json json = parse(bytes);
  if (!json.is_object()) return std::nullopt;
  RunInfo info;
  info.program = text(json, "program");
  for (const auto& [name, value] : part(json, "flags").items()) info.flags.emplace_back(name, shown(value));
  for (const auto& [name, value] : part(json, "data").items()) info.data.emplace_back(name, shown(value));
  info.format = text(json, "format");
  info.head = text(json, "head");
  info.estimator = text(json, "estimator");
  info.transform = text(json, "transform");
  // Runs without quantization use neither, though older ones recorded the defaults.
  const bool coded = info.format != "f32" && info.format != "bf16" && info.format != "bf16+2:4";
  const bool mixed = std::ranges::any_of(
      info.flags, [](const auto& flag) { return flag.first == "layer-formats" && !flag.second.empty(); });
  if (!coded && !mixed) info.estimator = info.transform = "";
  const Json& model = part(json, "model");
  info.model = {whole(model, "layers"),   whole(model, "width"),      whole(model, "heads"),
                whole(model, "kv_heads"), whole(model, "mlp"),        whole(model, "vocab"),
                whole(model, "seq"),      whole(model, "parameters"), whole(model, "block_parameters")};
  info.steps = whole(json, "steps");
  info.tokens_per_step = whole(json, "tokens_per_step");
  const Json& machine = part(json, "machine");
  info.machine = {text(machine, "cpu"), text(machine, "isa"),
                  static_cast<int>(std::clamp<std::int64_t>(whole(machine, "threads"), 0, 1 << 20)),
                  real(machine, "peak_gflops")};
  const Json& predicted = part(json, "predicted");
  info.predicted = {whole(predicted, "memory_bytes"), real(predicted, "seconds")};
  const Json& sizes = part(json, "sizes");
  info.sizes = {whole(sizes, "codes"),     whole(sizes, "scales"), whole(sizes, "head"),
                whole(sizes, "embedding"), whole(sizes, "norms"),  whole(sizes, "total")};
  return info;
}

void parse_metrics(std::string_view lines, RunRecords* records) {
  std::size_t bad = 0, first_bad = 0, line_number = 0;
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    const bool torn = end == std::string_view::npos;
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(torn ? lines.size() : end + 1);
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const Json json = parse(line);
    const auto step = step_of(json);
    if (step) {
      add_record(json, *step, records);
    } else if (!torn && ++bad == 1) {
      first_bad = line_number;
    }
  }
  if (bad > 0)
    records->notes.push_back(fmt::format("{} of metrics.jsonl could not be read (the first is line {}).",
                                         bad == 1 ? "One line" : fmt::format("{} lines", bad), first_bad));
}

std::optional<std::int64_t> step_of_line(std::string_view line) { return step_of(parse(line)); }

RunRecords read_run(const std::filesystem::path& run_folder) {
  RunRecords records;
  const auto info_path = run_folder / "run.json", metrics_path = run_folder / "metrics.jsonl";
  std::error_code ignored;
  const bool has_info = std::filesystem::exists(info_path, ignored);
  const bool has_metrics = std::filesystem::exists(metrics_path, ignored);
  if (!has_info && !has_metrics)
    fail_input(
        "{} holds neither run.json nor metrics.jsonl: it is not a run folder; name the folder that was given to "
        "train --out",
        run_folder.string());
  if (has_info) {
    records.info = parse_run_info(read_file(info_path, kLargestInfo));
    if (!records.info) records.notes.push_back("run.json could not be read: it is not a JSON object.");
  } else {
    records.notes.push_back("There is no run.json, so the model, the flags and the sizes are not shown.");
  }
  if (has_metrics && std::filesystem::file_size(metrics_path, ignored) > 0)
    parse_metrics(read_file(metrics_path, kLargestFile), &records);
  return records;
}

}  // namespace lowbit::report
