#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lowbit/base/executor.h"
#include "lowbit/formats/gaussian.h"
#include "lowbit/train/feed.h"

namespace lowbit::train {

/// How well gradients get through the quantizers, after each block (0: the first).
struct BlockAlignment {
  std::int64_t layer;
  double cosine;      ///< of dL/d(residual stream after the block), with quantized activations and without
  double norm_ratio;  ///< of their lengths, with over without
};

/// One side of a product against what the grid does to a normal variable (of the tensor's mean and deviation, where the
/// step is learned).
struct SideDiagnosis {
  double error = 0;                     ///< sum of squared errors over sum of squares
  double masked = 0;                    ///< share of entries without gradient
  std::optional<GaussianCoding> normal; ///< both as expected; empty where it is not known
};
struct LayerDiagnosis {
  std::string name;
  std::optional<SideDiagnosis> weight;  ///< empty: weights are not coded
  std::optional<SideDiagnosis> input;  ///< empty: activations are not coded
};

/// What became of a layer's weights between two checkpoints.
struct LayerChange {
  std::string name;
  double masked_before = 0, masked_now = 0;
  double still_masked = 0;    ///< of those masked before, the share that is masked now
  double codes_changed = 0;   ///< share
};

struct Diagnosis {
  std::string format, reference;
  std::int64_t tokens = 0;
  std::vector<BlockAlignment> blocks;
  std::vector<LayerDiagnosis> layers;
  std::vector<LayerChange> changes;
};

struct DiagnoseOptions {
  std::filesystem::path model;    ///< folder with float weights of a low-bit format
  std::filesystem::path earlier;  ///< an earlier checkpoint of the same run, or empty
  bool against_bf16 = false;      ///< the reference multiplies in bf16, instead of coded weights and float activations
  std::int64_t windows = 16;
  std::int64_t length = 0;        ///< tokens of a window; 0: the model's context
};

/// Takes a trained model apart on windows of `feed(length)`. throws Error(input): a packed folder, a format without
/// codes, checkpoints of different shapes. source  QuEST (arXiv 2502.05003), the figures on gradient alignment and on
/// the trust mask.
Diagnosis diagnose(Executor& executor, const DiagnoseOptions& options, const Feed& feed);

}  // namespace lowbit::train
