#include "lowbit/train/torch_version.h"

#include <torch/version.h>

namespace lowbit::train {

const char* torch_version() { return TORCH_VERSION; }

}  // namespace lowbit::train
