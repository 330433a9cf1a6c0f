#include "fake_run.h"

#include <fmt/format.h>

#include "lowbit/base/file_write.h"
#include "lowbit/base/math.h"
#include "lowbit/base/rng.h"
#include "lowbit/report/run_log.h"

namespace lowbit::report::test {

RunInfo fake_info(std::int64_t steps) {
  RunInfo info;
  info.program = "lowbit 0.1.0";
  info.flags = {{"data", "corpus/bible"},
                {"out", "runs/bible-w4a4"},
                {"format", "w4a4"},
                {"head", "bf16"},
                {"attention", "f32"},
                {"estimator", "trust"},
                {"transform", "hadamard"},
                {"outer-trust", "1.30"},
                {"backward", "bf16"},
                {"size", "5m"},
                {"layers", "4"},
                {"width", "256"},
                {"heads", "4"},
                {"kv-heads", "4"},
                {"mlp", "704"},
                {"seq", "512"},
                {"tokens", "3276800"},
                {"batch", "32"},
                {"micro-batch", "8"},
                {"recipe", "quest"},
                {"lr", "0.0048"},
                {"schedule", "cosine"},
                {"weight-decay", "0.1"},
                {"clip", "1"},
                {"eval-every", "20"},
                {"checkpoint-every", "50"},
                {"keep", "2"},
                {"seed", "1"},
                {"threads", "2"},
                {"resume", ""}};
  info.format = "w4a4";
  info.head = "bf16";
  info.estimator = "trust";
  info.transform = "hadamard";
  info.model = {4, 256, 4, 4, 704, 4096, 512, 5507328, 3211264};
  info.steps = steps;
  info.tokens_per_step = 16384;
  info.machine = {"AMD EPYC 9R14 96-Core Processor", "avx512", 2, 412.5};
  info.predicted = {641000000, 735};
  info.sizes = {1605632, 34816, 2097152, 2097152, 9216, 5843968};
  return info;
}

void write_fake_run(const std::filesystem::path& folder, std::int64_t steps, int layers) {
  write_file(folder / "run.json", to_json(fake_info(steps)));
  RunLog log(folder, 0);
  const Rng rng(7);
  std::uint64_t draw = 0;
  double seconds = 0;
  const auto loss_at = [&](std::int64_t s) {
    const double t = static_cast<double>(s) * 200 / static_cast<double>(steps);
    return 3.05 + 2.6 * math::exp(-t / 55) + 2.75 * math::exp(-t / 9);
  };
  const char* kinds[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                         "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
  for (std::int64_t s = 1; s <= steps; ++s) {
    StepRecord r;
    r.step = s;
    const double done = static_cast<double>(s) / static_cast<double>(steps);
    r.loss = loss_at(s - 1) + 0.06 * rng.normal(draw++);
    r.lr = 0.0048 * (done < 0.1 ? done / 0.1 : 0.5 * (1 + math::cos(3.14159265 * (done - 0.1) / 0.9)));
    r.grad_norm = (0.45 + 3.5 * math::exp(-60 * done)) * math::exp(0.22 * rng.normal(draw++));
    r.tokens = 16384 * s;
    r.tok_s = 4480 + 130 * rng.normal(draw++) - (s % 50 == 0 ? 1200 : 0);
    r.peak_share = r.tok_s / 10300;
    seconds += 16384 / r.tok_s;
    r.seconds = seconds;
    log.add(r);
    if (s % 20 == 0 || s == steps) {
      EvalRecord e;
      e.step = s;
      e.nats_per_token = loss_at(s) + 0.09 + 0.01 * rng.normal(draw++);
      e.nats_per_token_interval = Interval{e.nats_per_token - 0.045, e.nats_per_token + 0.046};
      e.bits_per_byte = e.nats_per_token * 0.4105;
      e.bits_per_byte_interval = Interval{*e.bits_per_byte - 0.019, *e.bits_per_byte + 0.018};
      e.tokens = 131072;
      e.bytes = 460110;
      e.seconds = 9.4;
      log.add(e);
      MasksRecord m;
      m.step = s;
      for (int layer = 0; layer < layers; ++layer)
        for (int k = 0; k < 7; ++k)
          m.layers.push_back(
              {fmt::format("model.layers.{}.{}", layer, kinds[k]),
               0.0021 + 0.0006 * k + 0.0008 * layer + 0.004 * done * (k == 6) + 0.0001 * rng.normal(draw++),
               0.004 + 0.003 * layer + 0.002 * k * done + (k == 6 ? 0.02 * done : 0) + 0.0002 * rng.normal(draw++)});
      log.add(m);
    }
    if (s == steps / 4)
      log.add(SampleRecord{
          s, "And God said",
          ", and the the LORD of the the house of the people,\nand the children of the and he said unto the land."});
    if (s == steps / 2)
      log.add(SampleRecord{s, "And God said",
                           " unto the king of the children of Israel, and the house of the\nLORD, and they shall be "
                           "the man of the earth."});
    if (s == steps / 2) log.add(EventRecord{s, "resumed", "from checkpoints/step-100"});
  }
  log.add(SampleRecord{steps, "And God said",
                       " unto Moses, Go down, and speak unto the children of Israel: for they have\nbrought forth the "
                       "word of the LORD, and <script>alert('no')</script> have gone up\ninto the land of Canaan."});
  log.add(SampleRecord{steps, "In the beginning",
                       " of the days of the kings of Judah, when the people were gathered together\nagainst the city, "
                       "the LORD sent his servant."});
  log.add(EventRecord{steps, "finished", ""});
  log.sync();
}

}  // namespace lowbit::report::test
