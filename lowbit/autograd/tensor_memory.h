#pragma once

namespace lowbit::autograd {

/// From now on libtorch takes tensors' memory from blocks that are kept when a tensor dies and handed to the next of
/// that size, on large pages: training asks for the same sizes in every step, and the kernel's zeroing of fresh pages
/// took a tenth of it. Call it once, before the first tensor. Threads may share it.
void keep_tensor_memory();

}  // namespace lowbit::autograd
