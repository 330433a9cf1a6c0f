#include "lowbit/cli/command.h"
#include "lowbit/train/torch_version.h"

using namespace lowbit::cli;

namespace {

constexpr Command kCommands[] = {
    {"train", "train a low-bit model, or resume an interrupted run", add_train},
    {"logits", "write float32 logits of a token file, computed by the training engine", add_train_logits},
    {"bench", "measure the speed of training steps as a share of the machine's peak", add_train_bench},
    {"diagnose", "report gradients, quantization errors and masks of a low-bit model, layer by layer", add_diagnose},
};

}  // namespace

int main(int argc, char** argv) {
  return main_program(argc, argv, {"lowbit-train", lowbit::train::torch_version()}, kCommands, {});
}
