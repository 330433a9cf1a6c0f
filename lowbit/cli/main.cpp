#include "lowbit/cli/command.h"

using namespace lowbit::cli;

namespace {

constexpr Command kTrain{"train", "train a low-bit model, or resume an interrupted run", nullptr};
constexpr Command kDiagnose{"diagnose", "report gradients, quantization errors and masks, layer by layer", nullptr};
constexpr Command kLogits{"logits", "write float32 logits of a token file, to compare engines bit by bit", add_logits};
constexpr Command kBench{"bench", "measure the speed of a model or shape as a share of the machine's peak", add_bench};

// In the order of the work. `train` has its place here and its flags in lowbit-train.
constexpr Command kCommands[] = {
    {"tokenizer", "train, use or inspect a tokenizer", add_tokenizer},
    {"data", "turn text into token shards for training and validation", add_data},
    kTrain,
    {"eval", "measure bits per byte and perplexity, with confidence intervals", add_eval},
    {"pack", "store a trained model in its low-bit form", add_pack},
    {"run", "complete a prompt", add_run},
    {"inspect", "show what a folder or file holds, and verify its hashes", add_inspect},
    kLogits,
    kDiagnose,
    {"roofline", "measure what this machine can do at most, and how near each layer comes", add_roofline},
    kBench,
    {"sweep", "train a grid of runs, several at a time", add_sweep},
    {"report", "write one HTML page that compares many runs", add_report},
    {"fit", "fit scaling laws to runs, and predict losses from them", add_fit},
};

// What lowbit-train does, since it alone links libtorch: `train` and `diagnose` always, `logits` with `--engine train`,
// `bench` with `--train`.
constexpr Command kHandedOver[] = {kTrain, kLogits, kBench, kDiagnose};

}  // namespace

int main(int argc, char** argv) { return main_program(argc, argv, {"lowbit", ""}, kCommands, kHandedOver); }
