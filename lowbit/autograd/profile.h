#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <string>

namespace lowbit::autograd {

/// Kinds of work in a training step, in the order of the table.
enum class Work {
  data,
  embedding,
  norm,
  code_inputs,
  product,
  attention,
  swiglu,
  residual,
  loss,
  product_dx,
  product_dw,
  mask_rotate,
  attention_backward,
  swiglu_backward,
  norm_backward,
  embedding_backward,
  optimizer,
  code_weights,
  count
};

/// Where the time of training steps goes. The thread that asks for the work does the timing, so the kinds do not
/// overlap and their sum is at most the steps' own time.
class Profile {
 public:
  /// Times its own life. A null profile costs nothing.
  class Scope {
   public:
    /// operations   multiplies and adds of the work, 0 where no peak is meant.
    Scope(Profile* profile, Work work, double operations = 0)
        : profile_(profile), work_(work), operations_(operations) {
      if (profile_) start_ = Clock::now();
    }
    ~Scope() {
      if (profile_) profile_->add(work_, std::chrono::duration<double>(Clock::now() - start_).count(), operations_);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    using Clock = std::chrono::steady_clock;
    Profile* profile_;
    Work work_;
    double operations_;
    Clock::time_point start_;
  };

  void add(Work work, double seconds, double operations);
  /// A step has ended that took so long in all.
  void end_step(double seconds);
  std::int64_t steps() const { return steps_; }
  /// Lines of milliseconds a step, shares of the step and, of products, GOP/s. "" before the first step.
  std::string table() const;

 private:
  struct Sum {
    double seconds = 0, operations = 0;
  };
  std::array<Sum, static_cast<std::size_t>(Work::count)> sums_{};
  double seconds_ = 0;
  std::int64_t steps_ = 0;
};

}  // namespace lowbit::autograd
