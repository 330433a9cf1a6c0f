#pragma once
#include <cstdlib>
#include <string>
#include <string_view>

#include "golden/reference_model.h"
#include "support/golden.h"

// Which of lowbit's keys a golden run stands for.
namespace lowbit::golden {

struct GoldenSetup {
  Scheme scheme;
  EdgeRules rules;
};

/// name  as in golden.json: the format's word, then -full, -nohadamard, -ste, -clip, -absmax, -lsq, -lsqplus and -pact
/// (as the code has them), -gaussian or (fp4) -paper, then @closed, @tie0 or @lr and a peak rate.
inline GoldenSetup golden_setup(std::string name) {
  GoldenSetup out;
  const auto take = [&name](std::string_view suffix) {
    if (!name.ends_with(suffix)) return false;
    name.resize(name.size() - suffix.size());
    return true;
  };
  if (const std::size_t rate = name.find("@lr"); rate != std::string::npos) name.resize(rate);  // another peak rate
  const bool closed = take("@closed"), tie = take("@tie0");
  out.rules.mask = closed ? EdgeRules::Mask::closed : EdgeRules::Mask::literal_trust;
  out.rules.zero_goes_down = tie;
  const bool full = take("-full"), ste = take("-ste"), clip = take("-clip");
  const bool lsq = take("-lsq"), plus = take("-lsqplus"), pact = take("-pact");
  const bool absmax = take("-absmax"), gaussian = take("-gaussian"), paper = take("-paper");
  const bool unrotated = take("-nohadamard") || ste || clip || absmax || lsq || plus || pact;
  out.rules.scales_of_code = !closed;
  out.scheme = default_scheme(parse_format(name == "none" ? "f32" : name));
  out.scheme.head = parse_head("f32");
  // The paper's weight-only runs rotate the weights alone.
  out.scheme.transform = unrotated                                  ? Transform::none
                         : out.scheme.format.weight_only() && !full ? Transform::hadamard_weights
                                                                    : Transform::hadamard;
  out.scheme.scale = absmax ? ScaleRule::absmax : ScaleRule::rms;
  out.scheme.grid = gaussian ? GridShape::gaussian : GridShape::uniform;
  // The runs named fp4 have the threshold of the code.
  if (name == "fp4" && !paper) out.scheme.fp4_threshold = Fp4Threshold::code;
  out.scheme.estimator = ste || absmax ? Estimator::ste
                         : clip        ? Estimator::clip
                         : lsq         ? Estimator::lsq
                         : plus        ? Estimator::lsq_plus_code
                         : pact        ? Estimator::pact_code
                                       : Estimator::trust;
  out.scheme.share_steps = is_learned(out.scheme.estimator);  // the code's q, k and v are one matrix
  out.scheme.check();
  return out;
}

inline files::SafetensorsFile golden_weights(std::string_view file = "init.safetensors") {
  return files::SafetensorsFile(test::golden_folder() / "runs" / file);
}

inline Batch golden_batch(const test::GoldenBatches& batches, std::size_t b) {
  return {test::GoldenBatches::kSequences, test::GoldenBatches::kLength, batches.batch(b)};
}

/// The token whose logits golden.json holds: the last position of sequence 0.
inline constexpr std::size_t kLogitsToken = test::GoldenBatches::kLength - 1;

}  // namespace lowbit::golden
