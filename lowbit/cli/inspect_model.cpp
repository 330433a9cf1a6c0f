#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/hash.h"
#include "lowbit/base/words.h"
#include "lowbit/base/progress.h"
#include "lowbit/cli/inspect.h"
#include "lowbit/formats/layout.h"
#include "lowbit/model/model_folder.h"
#include "lowbit/text/tokenizer.h"

namespace lowbit::cli {
namespace {

namespace fs = std::filesystem;
using files::Json;

double bits_per_weight(std::uint64_t bytes, std::int64_t weights) {
  return weights > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights) : 0;
}

struct Part {
  std::string_view name;
  std::size_t tensors = 0;
  std::int64_t weights = 0;
  std::uint64_t bytes = 0;  ///< as stored, scales included
  std::string stored;       ///< "BF16", "codes of w4 + scales"
};

std::size_t part_of(model::TensorRole role) {
  using model::TensorRole;
  if (role == TensorRole::embedding) return 0;
  if (role == TensorRole::norm) return 2;
  return role == TensorRole::head ? 3 : 1;
}

void note_stored(Part& part, const std::string& how) {
  if (part.stored.find(how) == std::string::npos) part.stored += (part.stored.empty() ? "" : ", ") + how;
}

/// Counts one tensor and reads all of it: weights and scales finite, every code one that its grid has.
void count_tensor(const model::ModelFolder& folder, const model::TensorSpec& spec, Part& part) {
  ++part.tensors;
  part.weights += spec.elements();
  if (!folder.is_coded(spec)) {
    const auto& view = folder.tensor(spec);
    part.bytes += view.bytes.size();
    note_stored(part, std::string(files::dtype_name(view.dtype)));
    std::vector<float> values(static_cast<std::size_t>(spec.elements()));
    folder.read_floats(spec, values);
    return;
  }
  const Grid& grid = *model::coding_of(spec, folder.scheme()).format.weight;
  const auto codes = folder.codes(spec);
  const auto offsets = folder.offsets(spec);
  part.bytes += codes.size() + folder.scales(spec).size_bytes() + offsets.size_bytes();
  note_stored(part, fmt::format("{}-bit codes{}{}", grid.storage_bits, grid.dense ? " of 2 of 4 pairs" : "",
                                offsets.empty() ? " and scales" : ", scales and offsets"));
  const auto columns = static_cast<std::size_t>(spec.columns);
  const std::size_t row_bytes = stored_row_bytes(grid, columns);
  std::vector<std::uint8_t> row(columns);
  for (std::size_t i = 0; i < static_cast<std::size_t>(spec.rows); ++i)
    unpack_stored(grid, codes.subspan(i * row_bytes, row_bytes), row);
}

void describe_config(Findings& found, const model::ModelFolder& folder) {
  const model::Config& c = folder.config();
  const Scheme& s = folder.scheme();
  found.json["config"] = {{"layers", c.layers},
                          {"width", c.width},
                          {"heads", c.heads},
                          {"kv_heads", c.kv_heads},
                          {"head_dim", c.head_dim},
                          {"mlp", c.mlp},
                          {"vocab", c.vocab},
                          {"positions", c.positions},
                          {"tied", c.tied},
                          {"qk_norm", c.qk_norm},
                          {"parameters", c.parameters()}};
  found.json["format"] = s.format.name();
  if (!s.layer_formats.empty()) found.json["layer_formats"] = text_of(s.layer_formats);
  found.json["head"] = s.head.name();
  found.json["attention"] = name_of(s.attention);
  found.json["packed"] = folder.packed();
  found.line("shape", "{}, width {}, {} of {} ({} key-value{}), MLP {}, vocabulary {}, context {}: {} parameters",
             counted(c.layers, "layer"), c.width, counted(c.heads, "head"), c.head_dim, c.kv_heads,
             c.qk_norm ? ", normed" : "", c.mlp, c.vocab, c.positions,
             human_count(static_cast<double>(c.parameters())));
  std::string arithmetic = fmt::format("{}, head {}, attention {}", s.name(), s.head.name(), name_of(s.attention));
  if (s.quantized()) {
    found.json["estimator"] = name_of(s.estimator);
    found.json["transform"] = name_of(s.transform);
    found.json["scale"] = name_of(s.scale);
    if (s.scale_group != 0) found.json["scale_group"] = s.scale_group;
    found.json["grid"] = name_of(s.grid);
    if (std::ranges::any_of(s.words(), &Format::pairs)) found.json["sparse_scale"] = name_of(s.sparse_scale);
    arithmetic += fmt::format(", estimator {}, transform {}{}, {}", name_of(s.estimator), name_of(s.transform),
                              s.variations(), folder.packed() ? "packed" : "float weights, coded when they are loaded");
  }
  found.line("arithmetic", "{}", arithmetic);
}

/// What each layer's format takes where layers have formats of their own: packed bits a weight, scales included.
void describe_layers(Findings& found, const model::ModelFolder& folder) {
  if (folder.scheme().layer_formats.empty()) return;
  Json list = Json::array();
  found.text += "\nbits per weight of each layer, packed, scales included\n";
  for (const std::string_view heading : kLayerKinds)
    found.text += fmt::format("{}{:<15}", heading == "q" ? "block  " : "", heading);
  for (const model::TensorSpec& spec : model::tensors(folder.config())) {
    if (!spec.linear()) continue;
    const model::TensorCoding coding = model::coding_of(spec, folder.scheme());
    const Format& format = coding.format;
    const auto bytes = static_cast<std::uint64_t>(model::stored_bytes(spec, format, coding.weight.scale_group).total());
    const double bits = bits_per_weight(bytes, spec.elements());
    if (spec.role == model::TensorRole::q) found.text += fmt::format("\n{:<7}", spec.layer);
    found.text += fmt::format("{:<15}", fmt::format("{} {:.3f}", format.name(), bits));
    list.push_back({{"layer", layer_name(spec.layer, model::kind_of(spec.role))},
                    {"format", format.name()},
                    {"weights", spec.elements()},
                    {"bytes", bytes},
                    {"bits_per_weight", bits}});
  }
  found.text += '\n';
  found.json["layers"] = list;
}

/// Where a text ends, and what the folder holds besides what is computed with.
void describe_notes(Findings& found, const model::ModelFolder& folder) {
  const model::Config& c = folder.config();
  found.json["begin_token"] = c.bos ? Json(*c.bos) : Json();
  found.json["end_tokens"] = c.eos;
  found.json["ignored_keys"] = folder.description().ignored_keys;
  found.json["weight_files"] = folder.weight_files();
  found.json["notes"] = folder.notes();
  if (!c.eos.empty()) found.line("end tokens", "{}", fmt::join(c.eos, ", "));
  if (folder.weight_files() > 1) found.line("weights", "in {} files", folder.weight_files());
  for (const std::string& note : folder.notes()) found.line("note", "{}", note);
}

}  // namespace

Findings begin_findings(std::string_view kind, const fs::path& path) {
  Findings found;
  found.json["kind"] = kind;
  found.json["path"] = path.string();
  found.line(kind, "{}", path.string());
  return found;
}

Findings inspect_model(const fs::path& path) {
  Findings found = begin_findings("model folder", path);
  const model::ModelFolder folder(path);
  describe_config(found, folder);
  describe_notes(found, folder);
  Part parts[] = {{"embedding"}, {"blocks"}, {"norms"}, {"head"}};
  for (const model::TensorSpec& spec : model::tensors(folder.config()))
    count_tensor(folder, spec, parts[part_of(spec.role)]);
  Part total{"total"};
  Json list = Json::array();
  found.text += fmt::format("\n{:<11}{:>8}{:>13}{:>15}{:>13}  {}\n", "part", "tensors", "weights", "bytes",
                            "bits/weight", "stored as");
  const auto row = [&](const Part& part) {
    const double bits = bits_per_weight(part.bytes, part.weights);
    found.text += fmt::format("{:<11}{:>8}{:>13}{:>15}{:>13.3f}{}{}\n", part.name, part.tensors, part.weights,
                              part.bytes, bits, part.stored.empty() ? "" : "  ", part.stored);
    list.push_back({{"part", part.name},
                    {"tensors", part.tensors},
                    {"weights", part.weights},
                    {"bytes", part.bytes},
                    {"bits_per_weight", bits},
                    {"stored_as", part.stored}});
  };
  for (const Part& part : parts) {
    if (part.tensors == 0) continue;
    row(part);
    total.tensors += part.tensors;
    total.weights += part.weights;
    total.bytes += part.bytes;
  }
  found.json["parts"] = list;
  found.json["bytes"] = total.bytes;
  found.json["bits_per_weight"] = bits_per_weight(total.bytes, total.weights);
  total.stored = folder.config().tied ? "the head is the embedding" : "";
  row(total);
  describe_layers(found, folder);
  if (fs::exists(path / text::kTokenizerFile)) {
    const auto tokenizer = text::Tokenizer::load(path / text::kTokenizerFile);
    found.json["tokenizer"] = {{"vocabulary", tokenizer.vocabulary()}, {"hash", hash_text(tokenizer.hash())}};
    found.line("\ntokenizer", " {} ids, hash {}", tokenizer.vocabulary(), hash_text(tokenizer.hash()));
    if (tokenizer.vocabulary() > static_cast<std::size_t>(folder.config().vocab))
      found.damaged.push_back(fmt::format("{}: the tokenizer has {} ids, the model {}", path.string(),
                                          tokenizer.vocabulary(), folder.config().vocab));
  }
  return found;
}

}  // namespace lowbit::cli
