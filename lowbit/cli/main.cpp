#include "lowbit/cli/command.h"

using namespace lowbit::cli;

namespace {

constexpr Command kTrain{"train", "train a low-bit model, or resume a training run", nullptr};
#ifdef LOWBIT_HAS_LOGITS
constexpr Command kLogits{"logits", "float32 logits of a token file, for comparing engines bit by bit", add_logits};
#endif

// In the order of the work. `train` has its place here and its flags in lowbit-train.
constexpr Command kCommands[] = {
#ifdef LOWBIT_HAS_TOKENIZER
    {"tokenizer", "train, use or look into a tokenizer", add_tokenizer},
#endif
#ifdef LOWBIT_HAS_DATA
    {"data", "turn text into token shards, for training and held out", add_data},
#endif
    kTrain,
#ifdef LOWBIT_HAS_EVAL
    {"eval", "bits per byte and perplexity of a model, with their intervals", add_eval},
#endif
#ifdef LOWBIT_HAS_PACK
    {"pack", "store a trained model in its low-bit form", add_pack},
#endif
#ifdef LOWBIT_HAS_RUN
    {"run", "complete a prompt", add_run},
#endif
#ifdef LOWBIT_HAS_INSPECT
    {"inspect", "what is in a folder or file: sizes, bits per weight, hashes checked", add_inspect},
#endif
#ifdef LOWBIT_HAS_LOGITS
    kLogits,
#endif
};

// What lowbit-train does, since it alone links libtorch: `train` always, `logits` when `--engine train` asks for it.
constexpr Command kHandedOver[] = {
    kTrain,
#ifdef LOWBIT_HAS_LOGITS
    kLogits,
#endif
};

}  // namespace

int main(int argc, char** argv) { return main_program(argc, argv, "lowbit", kCommands, kHandedOver); }
