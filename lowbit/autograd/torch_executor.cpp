#include "lowbit/autograd/torch_executor.h"

#include <ATen/Parallel.h>

#include <mutex>

#include "lowbit/autograd/tensor_memory.h"

namespace lowbit::autograd {

TorchExecutor::TorchExecutor(int threads) : pool_(threads) {
  static std::once_flag memory;
  std::call_once(memory, keep_tensor_memory);
  at::set_num_threads(1);
}

}  // namespace lowbit::autograd
