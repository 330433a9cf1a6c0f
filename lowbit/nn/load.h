#pragma once
#include "lowbit/model/model_folder.h"
#include "lowbit/nn/llama.h"

namespace lowbit::nn {

/// Reads a model folder's weights into the form that the forward pass uses, coding or unpacking them on the way.
/// positions   how many the rotary table covers, at most the longest context that will be asked for.
/// throws Error(input): NaN or infinite weights, codes a grid does not have (file, tensor, row, column).
LlamaWeights load_llama(Executor& executor, const model::ModelFolder& folder, std::size_t positions);

}  // namespace lowbit::nn
