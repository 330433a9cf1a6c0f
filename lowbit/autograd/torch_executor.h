#pragma once
#include "lowbit/base/executor.h"

namespace lowbit::autograd {

/// Our threads for training. libtorch is set to one thread, the caller's, so that two pools never fight over the cores;
/// what it does beside bookkeeping (the optimizer) is cut into tasks of this executor.
class TorchExecutor final : public Executor {
 public:
  explicit TorchExecutor(int threads);
  int threads() const override { return pool_.threads(); }

 protected:
  void run(std::size_t count, Task task) override { pool_.parallel_for(count, task); }

 private:
  ThreadPool pool_;
};

}  // namespace lowbit::autograd
