#pragma once
#include "lowbit/base/executor.h"

namespace lowbit::autograd {

/// libtorch's own threads behind our Executor, so that two pools never fight over the cores.
class TorchExecutor final : public Executor {
 public:
  /// Sets libtorch to this many threads and flushes denormals on each of them (its optimizer and its element-wise
  /// operations must round as ours do, whichever thread they run on).
  explicit TorchExecutor(int threads);
  int threads() const override { return threads_; }

 protected:
  void run(std::size_t count, Task task) override;

 private:
  int threads_;
};

}  // namespace lowbit::autograd
