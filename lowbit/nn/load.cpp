#include "lowbit/nn/load.h"

namespace lowbit::nn {

LlamaWeights load_llama(Executor& executor, const model::ModelFolder& folder, std::size_t positions) {
  LlamaWeights weights = make_llama(folder.config(), folder.scheme(), positions);
  Buffer<float> values;
  for (const model::TensorSpec& spec : model::tensors(folder.config())) {
    if (folder.is_coded(spec)) {
      set_coded_tensor(executor, weights, spec, folder.codes(spec), folder.scales(spec));
      continue;
    }
    values.resize(static_cast<std::size_t>(spec.elements()));
    folder.read_floats(spec, values);
    set_tensor(executor, weights, spec, values.data(), {});
  }
  return weights;
}

}  // namespace lowbit::nn
