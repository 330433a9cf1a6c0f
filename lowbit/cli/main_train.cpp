#include "lowbit/cli/command.h"

using namespace lowbit::cli;

namespace {

constexpr Command kCommands[] = {
    {"train", "train a low-bit model, or resume a training run", add_train},
    {"logits", "float32 logits of a token file, by the training engine", add_train_logits},
    {"bench", "speed of a step of training, as a share of what the machine can do", add_train_bench},
    {"diagnose", "how gradients, errors and masks of a low-bit model lie, layer by layer", add_diagnose},
};

}  // namespace

int main(int argc, char** argv) { return main_program(argc, argv, "lowbit-train", kCommands, {}); }
