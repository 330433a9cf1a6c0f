#include <fstream>
#include <iterator>
#include <sstream>

#include "fuzz/scratch.h"
#include "fuzz/targets.h"
#include "lowbit/base/executor.h"
#include "lowbit/base/rng.h"
#include "lowbit/compress/pack.h"
#include "lowbit/files/json.h"
#include "lowbit/files/npy.h"
#include "lowbit/files/safetensors.h"
#include "lowbit/files/token_shard.h"
#include "lowbit/model/config.h"
#include "lowbit/model/tensors.h"
#include "lowbit/text/tokenizer_train.h"
#include "text/packed.h"

namespace lowbit::fuzz {
namespace {

namespace fs = std::filesystem;

std::string get(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string trained_tokenizer() {
  static const std::string bytes = [] {
    text::TokenizerTrainer trainer(300);
    std::string text;
    for (int i = 0; i < 200; ++i)
      text += "the house of " + std::to_string(i) + " is the other house, and that is the other\n";
    trainer.add(text);
    return trainer.train();
  }();
  return bytes;
}

std::string llama2c_vocabulary() {
  std::string out;
  const auto put = [&](const auto& value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); };
  put(std::uint32_t{6});
  const auto piece = [&](std::string_view text, float score) {
    put(score);
    put(static_cast<std::uint32_t>(text.size()));
    out += text;
  };
  for (const char* special : {"<unk>", "<s>", "</s>"}) piece(special, 0);
  for (int byte = 0; byte < 256; ++byte) piece(fmt::format("<0x{:02X}>", byte), 0);
  for (const char* text : {"th", "the", " the", " ", "e", "t", "h", "o", "aa", "aaaa"}) piece(text, -1);
  return out;
}

model::ModelDescription small_description(std::string_view format) {
  model::ModelDescription d;
  d.scheme = default_scheme(parse_format(format));
  model::Config& c = d.config;
  c.layers = 1;
  c.width = c.mlp = 32;  // the least that has a Hadamard group
  c.heads = 2;
  c.kv_heads = 1;
  c.head_dim = 16;
  c.vocab = 300;
  c.positions = 32;
  c.tied = true;
  c.bos = 1;
  c.eos = {2};
  return d;
}

std::string config_text(std::string_view format) {
  return files::dump_pretty(model::config_json(small_description(format)));
}

/// The tensors whose number among all lies in [from, to).
std::string weights(std::string_view format, std::size_t from = 0, std::size_t to = ~std::size_t{0}) {
  const auto d = small_description(format);
  files::SafetensorsWriter writer;
  writer.metadata("format", "pt");
  std::vector<std::vector<float>> values;
  const Rng rng(5);
  std::uint64_t n = 0;
  const auto specs = model::tensors(d.config);
  values.reserve(specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (i < from || i >= to || (d.config.tied && specs[i].role == model::TensorRole::head)) continue;
    auto& v = values.emplace_back(static_cast<std::size_t>(specs[i].elements()));
    for (float& x : v) x = static_cast<float>(rng.normal(n++)) * 0.3f;
    writer.add(specs[i].name, files::Dtype::f32, specs[i].shape(), std::span<const float>(v));
  }
  std::string out;
  writer.write([&](std::span<const std::byte> b) { out.append(reinterpret_cast<const char*>(b.data()), b.size()); });
  return out;
}

std::string plain_folder() {
  return join_files({{"config.json", config_text("f32")},
                     {"model.safetensors", weights("f32")},
                     {"tokenizer.model", trained_tokenizer()}});
}

std::string sharded_folder() {
  files::Json map = files::Json::object();
  const auto specs = model::tensors(small_description("f32").config);
  for (std::size_t i = 0; i < specs.size(); ++i)
    map[specs[i].name] = fmt::format("model-0000{}-of-00002.safetensors", i < 3 ? 1 : 2);
  return join_files(
      {{"config.json", config_text("f32")},
       {"model.safetensors.index.json", files::dump_pretty({{"metadata", files::Json::object()}, {"weight_map", map}})},
       {"model-00001-of-00002.safetensors", weights("f32", 0, 3)},
       {"model-00002-of-00002.safetensors", weights("f32", 3)}});
}

std::string packed_folder(std::string_view format) {
  const ScratchFolder scratch;
  scratch.put("in/config.json", config_text(format));
  scratch.put("in/model.safetensors", weights(format));
  SerialExecutor executor;
  compress::pack(executor, scratch.path() / "in", scratch.path() / "out");
  return join_files({{"config.json", get(scratch.path() / "out/config.json")},
                     {"model.safetensors", get(scratch.path() / "out/model.safetensors")}});
}

std::string shard(std::uint64_t vocabulary) {
  const ScratchFolder scratch;
  files::TokenShardWriter writer(scratch.path() / "x", vocabulary, 7, true);
  for (std::uint32_t d = 0; d < 3; ++d) {
    writer.begin_document();
    writer.add(std::vector<std::uint32_t>{1, d + 2, 5}, 4 + d);
  }
  writer.commit();
  return get(scratch.path() / "x");
}

std::string npy() {
  const ScratchFolder scratch;
  files::NpyWriter writer(scratch.path() / "x", 3);
  writer.append(std::vector<float>{1, 2, 3, 4, 5, 6});
  writer.finish();
  return get(scratch.path() / "x");
}

constexpr const char* kRun =
    R"({"version":1,"program":"x","flags":{"lr":0.001,"in":["a","b"]},"format":"w4a4","head":"bf16",
"estimator":"trust","transform":"hadamard","model":{"layers":1,"width":16,"heads":2,"kv_heads":1,"mlp":16,"vocab":300,
"seq":32,"parameters":6000,"block_parameters":1280},"steps":2,"tokens_per_step":64,
"machine":{"cpu":"c","isa":"avx2","threads":2,
"peak_gflops":100},"predicted":{"memory_bytes":1000,"seconds":2},"sizes":{"codes":1,"scales":2,"head":3,"embedding":4,
"norms":5,"total":15}}
@@@
{"kind":"step","step":1,"loss":5.5,"lr":0.001,"grad_norm":1,"tokens":64,"seconds":1,"tok_s":64,"peak_share":0.1}
{"kind":"masks","step":1,"layers":{"a":{"weight":0.1,"input":0.2}}}
{"kind":"bits","step":1,"loss":5,"budget":4,"bits":4,"cost_before":1,"cost":0.5,
"uniform":{"format":"w4a4","bits":4,"cost":1},"layers":{}}
{"kind":"sample","step":2,"prompt":"a","text":"b"}
{"kind":"event","step":2,"what":"a","detail":"b"}
{"kind":"step","step":2,"loss":5.0,"lr":0.001,"grad_norm":1,"tokens":128,"seconds":2,"tok_s":64,"peak_share":0.1}
{"kind":"eval","step":2,"nats_per_token":4.9,"nats_per_token_interval":[4.8,5.0],"bits_per_byte":2,
"bits_per_byte_interval":[1.9,2.1],"tokens":100,"bytes":300,"seconds":1}
{"kind":"eval","step":2,"nats_per_token":4.9,"nats_per_token_interval":[4.8,5.0],"tokens":100,"bytes":300}
)";

}  // namespace

std::vector<Case> seeds() {
  const auto text = [](std::string_view t) { return [s = std::string(t)] { return s; }; };
  const std::string lines = "{\"text\": \"one \\u00e9\"}\n\n{\"other\": [{}], \"text\": \"two\"}\n";
  return {
      {"safetensors", "model", [] { return weights("f32"); }},
      {"token_shard", "narrow", [] { return shard(300); }},
      {"token_shard", "wide", [] { return shard(70000); }},
      {"json", "config", [] { return config_text("w4a4"); }},
      {"json", "numbers", text(R"([0,-1,1.5e3,18446744073709551615,true,null,"\u00e9\n",{"a":[]},[[]]])")},
      {"config_json", "plain", [] { return config_text("f32"); }},
      {"config_json", "coded", [] { return config_text("w4a4"); }},
      {"config_json", "integers", [] { return config_text("w8a8"); }},
      {"toml", "flags",
       text("a = 'x'\nb = [1, 2.5, true]\n[c.d]\ne = {f = 1, \"g.h\" = '''z'''}\n# x\n[[i]]\nj = 2020-01-01\n")},
      {"sweep_plan", "grid",
       text("[fixed]\nsteps = 10\n[grid]\nformat = ['w4a4', 'bf16']\nseed = [1, 2]\n[[cells]]\nlr = 1e-3\n")},
      {"fit_csv", "points", text("N,D,format,loss\n30M,3B,w4a4,3.5\n\"1,000\",2e9,bf16,2.1\n# x\n5k,1M,w4a4,-\n")},
      {"npy", "matrix", npy},
      {"tokenizer", "trained", trained_tokenizer},
      {"tokenizer", "llama2c", llama2c_vocabulary},
      {"text_plain", "plain", text("one\n--\ntwo \xC3\xA9\r\n--\n\nthree")},
      {"text_plain", "xz", [] { return test::xz("one\n--\ntwo\n"); }},
      {"text_plain", "zst", [] { return test::zst("one\n--\ntwo\n"); }},
      {"text_plain", "gz", [] { return test::gz("one\n--\ntwo\n"); }},
      {"text_lines", "lines", text(lines)},
      {"text_lines", "gz", [lines] { return test::gz(lines); }},
      {"run_folder", "run", text(kRun)},
      {"manifest", "manifest",
       text(R"({"version":1,"step":7,"files":[{"name":"state.json","bytes":2,"xxh3":"0123456789abcdef"}]})")},
      {"model_folder", "plain", plain_folder},
      {"model_folder", "sharded", sharded_folder},
      {"model_folder", "packed4", [] { return packed_folder("w4a4"); }},
      {"model_folder", "packed1.58", [] { return packed_folder("w1.58a8"); }},
  };
}

}  // namespace lowbit::fuzz
