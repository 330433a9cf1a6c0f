#include "lowbit/cli/command.h"

using namespace lowbit::cli;

namespace {

constexpr Command kTrain{"train", "train a low-bit model, or resume a training run", nullptr};
constexpr Command kDiagnose{"diagnose", "how gradients, errors and masks of a low-bit model lie, layer by layer", nullptr};
constexpr Command kLogits{"logits", "float32 logits of a token file, for comparing engines bit by bit", add_logits};
constexpr Command kBench{"bench", "speed of a model or of random weights, as a share of what the machine can do", add_bench};

// In the order of the work. `train` has its place here and its flags in lowbit-train.
constexpr Command kCommands[] = {
    {"tokenizer", "train, use or look into a tokenizer", add_tokenizer},
    {"data", "turn text into token shards, for training and held out", add_data},
    kTrain,
    {"eval", "bits per byte and perplexity of a model, with their intervals", add_eval},
    {"pack", "store a trained model in its low-bit form", add_pack},
    {"run", "complete a prompt", add_run},
    {"inspect", "what is in a folder or file: sizes, bits per weight, hashes checked", add_inspect},
    kLogits,
    kDiagnose,
    {"roofline", "what this machine can do at most, and how near each layer comes", add_roofline},
    kBench,
    {"sweep", "train a grid of runs, resumable, several at once", add_sweep},
    {"report", "one page over many runs: what bits, bytes and time buy, laws, samples", add_report},
    {"fit", "scaling laws over runs: effective parameters of formats, predictions, what is best for a memory", add_fit},
};

// What lowbit-train does, since it alone links libtorch: `train` and `diagnose` always, `logits` when `--engine train` asks for it, `bench`
// with `--train`.
constexpr Command kHandedOver[] = {kTrain, kLogits, kBench, kDiagnose};

}  // namespace

int main(int argc, char** argv) { return main_program(argc, argv, "lowbit", kCommands, kHandedOver); }
