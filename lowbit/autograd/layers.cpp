#include "lowbit/autograd/layers.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

#include "lowbit/autograd/tensors.h"
#include "lowbit/base/rng.h"
#include "lowbit/kernels/backward_int8.h"
#include "lowbit/kernels/offsets.h"
#include "lowbit/kernels/row_tasks.h"

namespace lowbit::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;

void round_to_bf16(Executor& executor, std::size_t n, const float* from, float* to) {
  constexpr std::size_t kChunk = std::size_t{1} << 16;
  executor.parallel_for((n + kChunk - 1) / kChunk, [&](std::size_t i) {
    for (std::size_t j = i * kChunk; j < std::min(n, (i + 1) * kChunk); ++j) to[j] = to_float(to_bf16(from[j]));
  });
}

std::size_t masked_bits(const std::uint64_t* mask, std::size_t words) {
  std::size_t trusted = 0;
  for (std::size_t i = 0; i < words; ++i) trusted += static_cast<std::size_t>(std::popcount(mask[i]));
  return trusted;
}

}  // namespace

at::Tensor new_rows(std::int64_t rows, std::size_t columns) {
  return at::empty({rows, static_cast<std::int64_t>(columns)}, at::TensorOptions().dtype(at::kFloat));
}

LinearGroup::LinearGroup(Context context, std::vector<const nn::LinearWeights*> weights,
                         std::vector<Parameter*> parameters)
    : context_(context), weights_(std::move(weights)), parameters_(std::move(parameters)) {}

bool LinearGroup::reads_values() const {
  const model::TensorCoding& coding = weights_.front()->coding();
  return input_step_ || !coding.format.quantized() || (coding.format.weight_only() && coding.input_group == 1);
}

void LinearGroup::prepare(const float* x, std::size_t rows, bool want_mask) {
  const nn::LinearWeights& first = *weights_.front();
  const Profile::Scope timed(context_.profile, Work::code_inputs);
  model::TensorCoding coding = first.coding();
  if (input_step_) {
    float& step = *mutable_data(input_step_->value);
    if (step == 0) {
      FirstStep seen;
      seen.see(*context_.executor, coding.input_group, rows, first.k(), x);
      step = seen.step(context_.estimator, *coding.input.grid, true);
      if (input_offset_) *mutable_data(input_offset_->value) = seen.offset(context_.estimator, *coding.input.grid);
    }
    coding.input.step = static_cast<double>(step);
    if (input_offset_) coding.input.offset = static_cast<double>(*data(input_offset_->value));
  }
  input_.prepare(*context_.executor, coding, rows, first.k(), x, first.k(), want_mask);
  if (context_.observer) (*context_.observer)(*this, x, rows);
}

void LinearGroup::prepare_made(std::size_t rows, bool want_mask, const MakeRows& make) {
  assert(!wants_whole_input());
  const std::size_t k = weights_.front()->k();
  const Profile::Scope timed(context_.profile, Work::code_inputs);
  input_.start(weights_.front()->coding(), rows, k, want_mask);
  kernels::for_rows(*context_.executor, rows, k, [&](std::size_t first, std::size_t end) {
    static thread_local Buffer<float> made;
    const std::size_t count = end - first;
    made.resize(count * k);
    make(first, count, made.data());
    SerialExecutor here;
    input_.prepare_rows(here, first, count, made.data());
  });
}

void LinearGroup::multiply_into(std::span<float* const> y) {
  double outputs = 0;
  for (const nn::LinearWeights* w : weights_) outputs += static_cast<double>(w->n());
  const Profile::Scope timed(context_.profile, Work::product,
                             2 * outputs * static_cast<double>(input_.rows() * input_.k()));
  for (std::size_t i = 0; i < weights_.size(); ++i)
    nn::linear(*context_.executor, input_, *weights_[i], y[i], weights_[i]->n());
}

kernels::BackwardOperand LinearGroup::weight_operand(std::size_t i) {
  const nn::LinearWeights& w = *weights_[i];
  kernels::BackwardOperand operand;
  const Format& format = w.coding().format;
  if (format.weight && !format.weight->integer()) {  // levels, still without h
    float_weight_.resize(w.n() * w.k());
    unit_scale_.resize(w.n());
    std::fill(unit_scale_.begin(), unit_scale_.end(), 1.0f);
    kernels::decode_rows(*context_.executor, {format.weight, 1, 0}, w.n(), nullptr, w.k(), w.coded().codes,
                         unit_scale_.data(), float_weight_.data(), w.k());
    operand.values = float_weight_.data();
    operand.stride = w.k();
    return operand;
  }
  if (format.weight) {
    operand.codes = w.coded().codes;
    operand.grid = format.weight;
    operand.stride = kernels::code_stride(w.k());
    return operand;
  }
  operand.values = w.values() ? w.values() : data(parameters_[i]->value);
  operand.stride = w.k();
  if (parameters_[i]->gain && !w.values()) {
    scaled_weight_.resize(w.n() * w.k());
    kernels::scale_values(*context_.executor, w.n() * w.k(), parameters_[i]->factor(), operand.values,
                          scaled_weight_.data());
    operand.values = scaled_weight_.data();
  }
  // bf16 products round their operands as the forward did; float32 products must be given what the forward multiplied.
  if (format.kind == Format::Kind::bf16 && context_.precision == kernels::Precision::f32) {
    float_weight_.resize(w.n() * w.k());
    round_to_bf16(*context_.executor, w.n() * w.k(), operand.values, float_weight_.data());
    operand.values = float_weight_.data();
  }
  return operand;
}

kernels::BackwardOperand LinearGroup::input_operand() {
  kernels::BackwardOperand operand;
  const Format& format = input_.coding().format;
  if (format.integer()) {
    operand.codes = input_.coded().codes;
    operand.grid = format.activation;
    operand.stride = kernels::code_stride(input_.k());
    return operand;
  }
  operand.values = input_.values();
  operand.stride = input_.values_stride();
  if (format.kind == Format::Kind::bf16 && context_.precision == kernels::Precision::f32) {
    assert(operand.stride == input_.k());
    rounded_input_.resize(input_.rows() * input_.k());
    round_to_bf16(*context_.executor, input_.rows() * input_.k(), operand.values, rounded_input_.data());
    operand.values = rounded_input_.data();
  }
  return operand;
}

void LinearGroup::multiply(std::uint64_t stream, std::size_t m, std::size_t n, std::size_t k,
                           const kernels::BackwardOperand& a, const kernels::BackwardOperand& b, float* c,
                           std::size_t c_stride, bool accumulate) {
  if (context_.precision != kernels::Precision::int8 || !b.codes)
    return kernels::backward_product(*context_.executor, context_.float_precision(), m, n, k, a, b, c, c_stride,
                                     accumulate);
  const Draws& draws = *context_.draws;
  const Rng rng(draws.seed, RandomUse::stochastic_rounding, draws.step);
  const std::uint64_t key = rng.bits(draws.micro_batch << 43 | stream);
  kernels::backward_product_int8(*context_.executor, key, m, n, k, a, b, c, c_stride, accumulate);
}

// dX = dY . wq: the h of wq are folded into dY's columns, the contracted index.
void LinearGroup::multiply_weights(std::uint64_t stream, std::size_t i, const float* dy, float* dx, bool accumulate) {
  const nn::LinearWeights& w = *weights_[i];
  const std::size_t rows = input_.rows(), n = w.n(), k = w.k(), slices = w.slices(), slice = w.slice();
  kernels::BackwardOperand a, b = weight_operand(i);
  a.values = dy;
  a.stride = n;
  if (w.coding().format.weight) a.contracted_scale = w.scale();
  if (slices > 1) {
    slice_scale_.resize(n);
    a.contracted_scale = slice_scale_.data();
  }
  for (std::size_t s = 0; s < slices; ++s) {
    for (std::size_t row = 0; slices > 1 && row < n; ++row) slice_scale_[row] = w.scale()[row * slices + s];
    // Slices draw where the head's pieces do: a layer of the blocks has one piece, the head one slice.
    multiply(stream + (s << 21), rows, slice, n, a, b, dx + s * slice, k, accumulate);
    b.values += b.values ? slice : 0;
    b.codes += b.codes ? slice : 0;
  }
}

void LinearGroup::backward_into(std::span<const float* const> dy, float* dx, std::uint64_t piece) {
  products_back_into(dy, dx, piece);
  const Profile::Scope timed(context_.profile, Work::mask_rotate);
  kernels::for_rows(*context_.executor, input_.rows(), input_.k(),
                    [&](std::size_t first, std::size_t end) { through_coding(first, end - first, dx); });
}

void LinearGroup::through_coding(std::size_t first, std::size_t count, float* dx) const {
  const model::TensorCoding& coding = input_.coding();
  if (!coding.format.quantized()) return;
  const std::size_t k = input_.k();
  const std::uint64_t* mask = coding.format.activation ? input_.coded().mask : nullptr;
  if (mask) mask += first * kernels::mask_words(k);
  SerialExecutor here;
  kernels::mask_and_rotate_rows(here, coding.input_group, count, k, mask, dx + first * k, k);
}

void LinearGroup::products_back_into(std::span<const float* const> dy, float* dx, std::uint64_t piece) {
  Executor& executor = *context_.executor;
  const std::size_t rows = input_.rows(), k = input_.k();
  const model::TensorCoding& coding = input_.coding();
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    const nn::LinearWeights& w = *weights_[i];
    const Format& format = w.coding().format;  // weights that read one input may differ in theirs
    const std::size_t n = w.n();
    // 22 bits of piece, 20 of tensor, 1 of product.
    const std::uint64_t stream = piece << 21 | static_cast<std::uint64_t>(parameters_[i]->number) << 1;
    kernels::BackwardOperand a;
    a.values = dy[i];
    a.stride = n;
    const double operations = 2 * static_cast<double>(rows * n) * static_cast<double>(k);
    {
      const Profile::Scope timed(context_.profile, Work::product_dx, operations);
      multiply_weights(stream, i, dy[i], dx, i > 0);
      if (w.coding().weight.shift == Shift::mean) kernels::add_row_dots(executor, rows, n, k, dy[i], w.offset(), dx);
    }
    // dW = dY^T . xq: here the contracted index is the row, so the tokens' h are folded in (decoded rows carry them).
    a.transposed = true;
    a.contracted_scale = coding.format.integer() ? input_.coded().scale : nullptr;
    float* grad = mutable_data(parameters_[i]->grad);
    const bool in_place = !format.quantized() && !format.masked && !parameters_[i]->gain;
    if (!in_place) weight_grad_.resize(n * k);
    {
      const Profile::Scope timed(context_.profile, Work::product_dw, operations);
      multiply(stream | 1, n, k, rows, a, input_operand(), in_place ? grad : weight_grad_.data(), k, in_place);
    }
    if (in_place) continue;
    if (coding.format.integer() && coding.input.shift != Shift::none) {
      // What the codes leave out of xq: the same offset in every column.
      column_sums_.resize(n);
      kernels::column_sums(executor, rows, n, dy[i], column_sums_.data());
      executor.parallel_for(n, [&](std::size_t row) {
        const auto part = static_cast<float>(coding.input.offset * column_sums_[row]);
        for (std::size_t j = row * k; j < (row + 1) * k; ++j) weight_grad_[j] += part;
      });
    }
    add_weight_gradient(i, weight_grad_.data());
  }
  const Profile::Scope timed(context_.profile, Work::mask_rotate);
  const std::size_t all_rows = context_.draws && context_.draws->rows ? context_.draws->rows : rows;
  if (input_step_ && context_.estimator == Estimator::adabin)
    add_adabin_gradient(coding.input, coding.input_group, rows, all_rows, k, dx, input_.values());
  else if (input_step_)
    add_step_gradient(*input_step_, input_offset_, coding.input, coding.input_group, rows, all_rows, k, dx,
                      input_.values(), input_.coded().codes);
}

// With w_eff = g w: dL/dw = g dL/dw_eff through mask and rotation; dL/dg = sum of dL/dw_eff times what the product read
// (codes: o h, where h has g in it) over g, exact: no estimator lies between a gain and the output.
void LinearGroup::add_weight_gradient(std::size_t i, float* d) {
  Executor& executor = *context_.executor;
  const Profile::Scope timed(context_.profile, Work::mask_rotate);
  const nn::LinearWeights& w = *weights_[i];
  const std::size_t n = w.n(), k = w.k();
  Parameter& p = *parameters_[i];
  const Format& format = w.coding().format;
  if (p.gain) {
    const std::size_t coded_rows = n * w.slices(), columns = w.slice();  // with one scale each
    std::vector<double> sums(coded_rows);
    const float* const values = w.values() ? w.values() : data(p.value);
    const double factor =
        w.values() || format.weight ? static_cast<double>(p.factor()) : 1;  // which those have in them
    const kernels::RowCoding coding = format.weight ? nn::weight_coding(w.coding()) : kernels::RowCoding{};
    executor.parallel_for(coded_rows, [&](std::size_t row) {
      const float* const of_row = d + row * columns;
      if (format.weight)
        sums[row] =
            kernels::dot_codes(*coding.grid, columns, w.coded().codes + row * kernels::code_stride(columns), of_row) *
            static_cast<double>(w.scale()[row]) / factor;
      else
        sums[row] = kernels::dot_values(columns, values + row * columns, of_row) / factor;
    });
    double sum = 0;
    for (const double s : sums) sum += s;
    *mutable_data(p.gain->grad) += static_cast<float>(sum);
  }
  if (!weight_steps_.empty() && weight_steps_[i]) {
    std::size_t all_rows = 0;  // of the layers that share the step
    for (std::size_t j = 0; j < weights_.size(); ++j)
      all_rows += weight_steps_[j] == weight_steps_[i] ? weights_[j]->n() : 0;
    add_step_gradient(*weight_steps_[i], nullptr, w.coding().weight, w.coding().group, n, all_rows, k, d, data(p.value),
                      w.coded().codes);
  }
  if (w.coding().weight.shift == Shift::mean) through_deviation(i, d);
  if (format.quantized() || format.masked)
    kernels::mask_and_rotate_rows(executor, w.coding().group, n, k, w.coded().mask, d, k);
  if (p.gain) kernels::scale_values(executor, n * k, p.factor(), d, d);
  kernels::add_in_place(executor, n * k, mutable_data(p.grad), d);
}

void LinearGroup::count_masks(std::vector<MaskShare>& shares) const {
  const auto share = [](const kernels::CodedRows& rows, std::size_t n, std::size_t k) {
    if (!rows.mask || n == 0) return 0.0;
    const auto all = static_cast<double>(n * k);
    return 1 - static_cast<double>(masked_bits(rows.mask, n * kernels::mask_words(k))) / all;
  };
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    const nn::LinearWeights& w = *weights_[i];
    if (!w.coding().format.quantized()) continue;
    std::string name = parameters_[i]->spec.name;
    if (name.ends_with(".weight")) name.resize(name.size() - 7);
    shares.push_back({name, share(w.coded(), w.n(), w.k()),
                      w.coding().format.activation ? share(input_.coded(), input_.rows(), input_.k()) : 0.0});
  }
}

namespace {

struct EmbeddingFunction : Function<EmbeddingFunction> {
  // `anchor` is the master table: it makes the result part of the graph; its gradient is added in place.
  static Variable forward(AutogradContext* graph, const Variable& anchor, const Context* context,
                          const nn::Embedding* embedding, Parameter* table, const std::int32_t* ids,
                          std::int64_t rows) {
    (void)anchor;
    keep_pointer(graph, "context", const_cast<Context*>(context));
    keep_pointer(graph, "embedding", const_cast<nn::Embedding*>(embedding));
    keep_pointer(graph, "table", table);
    keep_pointer(graph, "ids", const_cast<std::int32_t*>(ids));
    const Profile::Scope timed(context->profile, Work::embedding);
    at::Tensor y = new_rows(rows, embedding->k());
    embedding->look_up(*context->executor, static_cast<std::size_t>(rows), ids, mutable_data(y));
    return y;
  }
  static variable_list backward(AutogradContext* graph, const variable_list& dy) {
    auto* context = kept_pointer<Context>(graph, "context");
    auto* embedding = kept_pointer<nn::Embedding>(graph, "embedding");
    auto* table = kept_pointer<Parameter>(graph, "table");
    auto* ids = kept_pointer<std::int32_t>(graph, "ids");
    const Profile::Scope timed(context->profile, Work::embedding_backward);
    const at::Tensor d = dy[0].contiguous();
    const std::size_t rows = rows_of(d), k = embedding->k();
    float* grad = mutable_data(table->grad);
    if (!embedding->coding().format.quantized()) {
      kernels::embedding_backward(*context->executor, rows, k, ids, data(d), grad);
    } else {
      // y = (Q(E H)) H, so dE = ((dY H) o M) H. The first rotation is linear, so it is done on the sums: the table's
      // rows instead of the batch's.
      at::Tensor sums = at::zeros_like(table->grad);
      float* s = mutable_data(sums);
      const int group = embedding->coding().group;
      kernels::embedding_backward(*context->executor, rows, k, ids, data(d), s);
      kernels::rotate_rows(*context->executor, group, embedding->n(), k, s, k, s, k);
      kernels::mask_and_rotate_rows(*context->executor, group, embedding->n(), k, embedding->coded().mask, s, k);
      kernels::add_in_place(*context->executor, embedding->n() * k, grad, s);
    }
    return {Variable(), Variable(), Variable(), Variable(), Variable(), Variable()};
  }
};

struct RmsNormFunction : Function<RmsNormFunction> {
  static Variable forward(AutogradContext* graph, const Variable& x, const Context* context, Parameter* weight,
                          double eps) {
    keep_pointer(graph, "context", const_cast<Context*>(context));
    keep_pointer(graph, "weight", weight);
    const Profile::Scope timed(context->profile, Work::norm);
    at::Tensor y = at::empty_like(x);
    at::Tensor inv = at::empty({x.size(0)}, x.options());
    kernels::rms_norm(*context->executor, rows_of(x), columns_of(x), data(x), data(weight->value),
                      static_cast<float>(eps), mutable_data(y), mutable_data(inv));
    graph->save_for_backward({x, inv});
    return y;
  }
  static variable_list backward(AutogradContext* graph, const variable_list& dy) {
    auto* context = kept_pointer<Context>(graph, "context");
    auto* weight = kept_pointer<Parameter>(graph, "weight");
    const auto saved = graph->get_saved_variables();
    const Profile::Scope timed(context->profile, Work::norm_backward);
    const at::Tensor d = dy[0].contiguous();
    at::Tensor dx = at::empty_like(saved[0]);
    kernels::rms_norm_backward(*context->executor, rows_of(d), columns_of(d), data(saved[0]), data(weight->value),
                               data(saved[1]), data(d), nullptr, mutable_data(dx), mutable_data(weight->grad));
    return {dx, Variable(), Variable(), Variable()};
  }
};

struct HeadLossFunction : Function<HeadLossFunction> {
  static constexpr std::size_t kRows = 512;  ///< of logits in memory at once

  static Variable forward(AutogradContext* graph, const Variable& x, const Context* context, LinearGroup* head,
                          const std::int32_t* targets, double scale, double* losses, const SoftTargets* soft) {
    const std::size_t rows = rows_of(x), k = columns_of(x), vocab = head->weights().front()->n();
    at::Tensor dx = at::empty_like(x);
    at::Tensor logits = new_rows(static_cast<std::int64_t>(std::min(rows, kRows)), vocab);
    const at::Tensor teacher_logits = soft->head ? at::empty_like(logits) : at::Tensor();
    std::vector<double> unused(soft->head ? kRows : 0);
    for (std::size_t at = 0; at < rows; at += kRows) {
      const std::size_t count = std::min(kRows, rows - at);
      float* z = mutable_data(logits);
      head->prepare(data(x) + at * k, count, true);
      head->multiply_into(std::span(&z, 1));
      {
        const Profile::Scope timed(context->profile, Work::loss);
        kernels::cross_entropy(*context->executor, count, vocab, z, targets + at, losses + at, z,
                               static_cast<float>(scale));
      }
      if (soft->head) {
        // (softmax - (1 - w) onehot - w teacher) is (softmax - onehot) - w (teacher - onehot).
        float* const t = mutable_data(teacher_logits);
        const std::size_t teacher_k = columns_of(soft->x);
        soft->head->prepare(data(soft->x) + at * teacher_k, count, false);
        soft->head->multiply_into(std::span(&t, 1));
        const Profile::Scope timed(context->profile, Work::loss);
        kernels::cross_entropy(*context->executor, count, vocab, t, targets + at, unused.data(), t,
                               -soft->weight * static_cast<float>(scale));
        kernels::add_in_place(*context->executor, count * vocab, z, t);
      }
      const float* dz = z;
      head->backward_into(std::span(&dz, 1), mutable_data(dx) + at * k, at / kRows);
    }
    graph->save_for_backward({dx});
    return at::zeros({}, x.options());
  }
  static variable_list backward(AutogradContext* graph, const variable_list&) {
    const auto saved = graph->get_saved_variables();
    return {saved[0], Variable(), Variable(), Variable(), Variable(), Variable(), Variable()};
  }
};

}  // namespace

at::Tensor embed(const Context& context, const nn::Embedding& embedding, Parameter& table,
                 std::span<const std::int32_t> ids) {
  return EmbeddingFunction::apply(table.value, &context, &embedding, &table, ids.data(),
                                  static_cast<std::int64_t>(ids.size()));
}

at::Tensor rms_norm(const Context& context, const at::Tensor& x, Parameter& weight, float eps) {
  return RmsNormFunction::apply(x, &context, &weight, static_cast<double>(eps));
}

at::Tensor head_loss(const Context& context, LinearGroup& head, const at::Tensor& x,
                     std::span<const std::int32_t> targets, float scale, std::span<double> losses,
                     const SoftTargets& soft) {
  return HeadLossFunction::apply(x, &context, &head, targets.data(), static_cast<double>(scale), losses.data(), &soft);
}

}  // namespace lowbit::autograd
