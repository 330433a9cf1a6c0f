#include "lowbit/compress/pack.h"

#include <optional>
#include <vector>

#include "lowbit/base/aligned.h"
#include "lowbit/base/error.h"
#include "lowbit/base/file_lock.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/formats/layout.h"
#include "lowbit/model/companions.h"
#include "lowbit/model/model_folder.h"
#include "lowbit/nn/linear.h"

namespace lowbit::compress {
namespace {

namespace fs = std::filesystem;
using files::Dtype;

/// One coded tensor on its way to the file.
struct Coded {
  std::vector<std::uint8_t> codes;
  std::vector<float> scale, offset;  ///< offset: of each row, or empty
};

/// The learned step of a layer's weights; 0 where there is none.
double step_of(const model::ModelFolder& folder, const model::TensorSpec& spec) {
  for (const model::StepSpec& step : model::step_tensors(folder.config(), folder.scheme())) {
    if (step.input || step.tensor.layer != spec.layer || step.role != model::step_owner(spec.role, folder.scheme()))
      continue;
    float value = 0;
    folder.read_floats(step.tensor, std::span(&value, 1));
    return static_cast<double>(value);
  }
  return 0;
}

Coded code(Executor& executor, const model::ModelFolder& folder, const model::TensorSpec& spec,
           model::TensorCoding coding) {
  if (spec.linear()) coding.weight.step = step_of(folder, spec);
  const auto n = static_cast<std::size_t>(spec.rows), k = static_cast<std::size_t>(spec.columns);
  const Grid& grid = *coding.format.weight;
  Buffer<float> values(n * k);
  folder.read_floats(spec, values);
  Buffer<std::uint8_t> rows(n * kernels::code_stride(k));
  const auto slices = static_cast<std::size_t>(coding.weight.slices(spec.columns));
  Buffer<std::int32_t> sums(n * slices);
  Coded coded;
  coded.scale.resize(n * slices);
  coded.offset.resize(coding.weight.shift == Shift::mean ? n : 0);
  // What shares a scale is a row here: it lies as a row's columns do (nn/linear.h).
  kernels::code_rows(executor, nn::weight_coding(coding), n * slices, k / slices, values.data(), k / slices,
                     {rows.data(), coded.scale.data(), sums.data(), nullptr, coded.offset.data()});
  const std::size_t row_bytes = stored_row_bytes(grid, k);
  coded.codes.resize(n * row_bytes);
  executor.parallel_for(n, [&](std::size_t row) {
    pack_stored(grid, {rows.data() + row * kernels::code_stride(k), k},
                {coded.codes.data() + row * row_bytes, row_bytes});
  });
  return coded;
}

/// The folder that is filled, beside `out`, until it is whole and gets that name. While it is filled it is locked, so
/// that what a killed process left can be told from what another is at work on, and is removed.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const fs::path& out) {
    const fs::path beside = out.has_parent_path() ? out.parent_path() : fs::path(".");
    const std::string begin = "." + out.filename().string() + ".tmp-";
    make_folder(beside);
    std::error_code error;
    for (fs::directory_iterator it(beside, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().string();
      std::error_code ignored;
      if (name.starts_with(begin) && is_temporary_name(name) && it->is_directory(ignored) && !is_locked(it->path()))
        fs::remove_all(it->path(), ignored);
    }
    path_ = temporary_name(beside / ("." + out.filename().string()));
    make_folder(path_);
    lock_.emplace(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }
  void commit(const fs::path& out) {
    rename_path(path_, out);
    path_.clear();
    sync_folder(out.has_parent_path() ? out.parent_path() : fs::path("."));
  }

 private:
  fs::path path_;
  std::optional<FolderLock> lock_;
};

files::ByteSource bytes_of(std::span<const std::byte> bytes) {
  return [bytes](const files::ByteSink& sink) { sink(bytes); };
}

}  // namespace

PackSummary pack(Executor& executor, const fs::path& path, const fs::path& out) {
  const model::ModelFolder folder(path);
  if (folder.packed()) fail_input("{} is packed already", path.string());
  const Scheme& scheme = folder.scheme();
  if (!scheme.quantized() && !scheme.head.quantized())
    fail_input("{} has format {}: there is nothing to code, it is stored as it runs", path.string(),
               scheme.format.name());
  for (const Format& word : scheme.words())
    if (word.masked || (word.quantized() && !word.weight))
      fail_input("{} has format {}, whose weights are floats: it has no packed form, run it as it is", path.string(),
                 word.name());
  std::error_code error;
  if (fs::exists(out, error) && (!fs::is_directory(out, error) || !fs::is_empty(out, error)))
    fail_usage("--out {} exists and is not an empty folder; name a new one", out.string());

  PackSummary summary;
  summary.bytes_before = static_cast<std::int64_t>(folder.stored_bytes());
  fs::path clean = out;
  if (!clean.has_filename()) clean = clean.parent_path();
  TemporaryFolder temporary(clean);

  const std::vector<model::TensorSpec> specs = model::tensors(folder.config());
  // Codes are made when their tensor is written, so that one tensor at a time is in memory; a tensor's codes and scales
  // come from one pass, kept until both are out.
  files::SafetensorsWriter writer;
  writer.metadata("format", "pt");
  std::vector<std::unique_ptr<Coded>> held(specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    check_interrupt("stopped; nothing was packed");
    const model::TensorSpec& spec = specs[i];
    const model::TensorCoding coding = model::coding_of(spec, scheme);
    if (!coding.format.quantized()) {
      if (spec.role == model::TensorRole::norm || coding.format.kind == Format::Kind::f32) {
        held[i] = std::make_unique<Coded>();
        held[i]->scale.resize(static_cast<std::size_t>(spec.elements()));
        folder.read_floats(spec, held[i]->scale);
        writer.add(spec.name, Dtype::f32, spec.shape(), std::span<const float>(held[i]->scale));
      } else {
        held[i] = std::make_unique<Coded>();
        std::vector<float> values(static_cast<std::size_t>(spec.elements()));
        folder.read_floats(spec, values);
        held[i]->codes.resize(2 * values.size());
        auto* rounded = reinterpret_cast<bf16*>(held[i]->codes.data());
        for (std::size_t j = 0; j < values.size(); ++j) rounded[j] = to_bf16(values[j]);
        writer.add(spec.name, Dtype::bf16, spec.shape(), bytes_of(std::as_bytes(std::span(held[i]->codes))));
      }
      continue;
    }
    held[i] = std::make_unique<Coded>(code(executor, folder, spec, coding));
    const auto row_bytes =
        static_cast<std::int64_t>(stored_row_bytes(*coding.format.weight, static_cast<std::size_t>(spec.columns)));
    writer.add(spec.name + ".codes", Dtype::u8, {spec.rows, row_bytes}, std::span<const std::uint8_t>(held[i]->codes));
    writer.add(spec.name + ".scale", Dtype::f32, model::scale_shape(spec, coding),
               std::span<const float>(held[i]->scale));
    if (!held[i]->offset.empty())
      writer.add(spec.name + ".offset", Dtype::f32, {spec.rows}, std::span<const float>(held[i]->offset));
    summary.coded_weights += spec.elements();
    summary.coded_bytes +=
        spec.rows * row_bytes + static_cast<std::int64_t>(4 * (held[i]->scale.size() + held[i]->offset.size()));
  }
  std::vector<std::unique_ptr<float>> steps;
  for (const model::StepSpec& step : model::step_tensors(folder.config(), scheme)) {
    if (!step.input) continue;
    steps.push_back(std::make_unique<float>());
    folder.read_floats(step.tensor, std::span(steps.back().get(), 1));
    writer.add(step.tensor.name, Dtype::f32, step.tensor.shape(), std::span<const float>(steps.back().get(), 1));
  }
  {
    AtomicFile file(temporary.path() / "model.safetensors");
    writer.write([&](std::span<const std::byte> bytes) {
      check_interrupt("stopped; nothing was packed");
      file.write(bytes);
    });
    file.commit();
  }
  model::ModelDescription description = folder.description();
  description.packed = true;
  description.scheme_stated = true;
  write_file(temporary.path() / "config.json", files::dump_pretty(model::config_json(description)));
  for (const fs::path& file : model::companions(path)) write_file(temporary.path() / file.filename(), read_file(file));
  summary.bytes_after = static_cast<std::int64_t>(model::ModelFolder(temporary.path()).stored_bytes());

  fs::remove(out, error);  // an empty folder of that name gives way
  check_interrupt("stopped; nothing was packed");
  temporary.commit(clean);
  return summary;
}

}  // namespace lowbit::compress
