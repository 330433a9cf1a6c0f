#include "lowbit/nn/load.h"

namespace lowbit::nn {

LlamaWeights load_llama(Executor& executor, const model::ModelFolder& folder, std::size_t positions) {
  LlamaWeights weights = make_llama(folder.config(), folder.scheme(), positions);
  Buffer<float> values;
  for (const model::StepSpec& step : model::step_tensors(folder.config(), folder.scheme())) {
    float value = 0;
    if (!step.input && folder.packed()) continue;
    folder.read_floats(step.tensor, std::span(&value, 1));
    if (value == 0 && !step.offset)
      fail_input("{}: {} is not set yet: learned steps begin with the first update; name a later checkpoint",
                 folder.path().string(), step.tensor.name);
    set_step(weights, step, value);
  }
  for (const model::TensorSpec& spec : model::tensors(folder.config())) {
    if (folder.is_coded(spec)) {
      set_coded_tensor(executor, weights, spec, folder.codes(spec), folder.scales(spec), folder.offsets(spec));
      continue;
    }
    values.resize(static_cast<std::size_t>(spec.elements()));
    folder.read_floats(spec, values);
    set_tensor(executor, weights, spec, values.data(), {});
  }
  return weights;
}

}  // namespace lowbit::nn
