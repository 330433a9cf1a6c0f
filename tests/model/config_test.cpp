#include "lowbit/model/config.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "files/expect_error.h"
#include "lowbit/model/tensors.h"
#include "model/make_folder.h"

namespace lowbit::test {
namespace {

using files::Json;

/// config.json of a small Llama, with keys of `more` added or in the place of its own.
Json with(const std::string& more) {
  Json json = model::config_json(small_model());
  const Json added = files::parse_json(more, "the test");
  for (const auto& [key, value] : added.items()) json[key] = value;
  return json;
}

model::ModelDescription parse(const std::string& more) { return model::parse_config(with(more), "config.json"); }

void expect_refused(const std::string& more, std::initializer_list<std::string_view> says) {
  SCOPED_TRACE(more);
  expect_error(ErrorKind::input, says, [&] { parse(more); });
}

using Keys = std::vector<std::string>;

TEST(ConfigKeys, ThoseThatCannotChangeALogitArePassedOverAndListed) {
  for (const std::string key : {"unsloth_version",
                                "unsloth_fixed",
                                "axolotl_config_path",
                                "transformers_version",
                                "transformers.js_config",
                                "_name_or_path",
                                "name_or_path",
                                "_commit_hash",
                                "_attn_implementation",
                                "attn_implementation",
                                "attention_dropout",
                                "hidden_dropout",
                                "resid_pdrop",
                                "embd_pdrop",
                                "initializer_range",
                                "use_cache",
                                "pad_token_id",
                                "unk_token_id",
                                "bos_token",
                                "chat_template",
                                "tokenizer_class",
                                "auto_map",
                                "is_llama_config",
                                "torchscript",
                                "id2label",
                                "label2id",
                                "problem_type",
                                "num_labels",
                                "output_attentions",
                                "output_hidden_states",
                                "return_dict",
                                "temperature",
                                "top_p",
                                "repetition_penalty",
                                "max_length",
                                "do_sample",
                                "use_flash_attn",
                                "max_window_layers",
                                "gradient_checkpointing",
                                "learning_rate",
                                "weight_decay",
                                "num_train_epochs",
                                "per_device_train_batch_size",
                                "lora_r",
                                "lora_alpha",
                                "peft_type",
                                "wandb_run_id",
                                "dataset",
                                "license",
                                "language",
                                "tags",
                                "author",
                                "my_note",
                                "description",
                                "model_max_length",
                                "n_ctx",
                                "cache_implementation",
                                "router_aux_loss_coef",
                                "fsdp",
                                "deepspeed_stage",
                                "finetuning_task",
                                "base_model",
                                "whatever"}) {
    const auto d = parse("{\"" + key + "\": \"x\"}");
    EXPECT_EQ(d.ignored_keys, Keys{key});
  }
  EXPECT_TRUE(parse("{}").ignored_keys.empty()) << "what this program writes it reads";
}

TEST(ConfigKeys, ThoseThatCouldAreRefusedByName) {
  for (const std::string pair : {R"("attention_multiplier": 0.1)",
                                 R"("logits_scaling": 8.0)",
                                 R"("residual_multiplier": 0.22)",
                                 R"("embedding_multiplier": 12)",
                                 R"("final_logit_softcapping": 30.0)",
                                 R"("attn_logit_softcapping": 50.0)",
                                 R"("query_pre_attn_scalar": 256)",
                                 R"("sliding_window": 32)",
                                 R"("use_sliding_window": true)",
                                 R"("attention_bias": true)",
                                 R"("mlp_bias": true)",
                                 R"("qkv_bias": true)",
                                 R"("rope_interleaved": true)",
                                 R"("partial_rotary_factor": 0.5)",
                                 R"("rotary_pct": 0.25)",
                                 R"("hidden_act": "gelu")",
                                 R"("num_experts": 8)",
                                 R"("num_local_experts": 8)",
                                 R"("clip_qkv": 8.0)",
                                 R"("use_parallel_residual": true)",
                                 R"("alibi": true)",
                                 R"("is_causal": false)",
                                 R"("use_rope": false)",
                                 R"("no_rope_layers": [1, 0])",
                                 R"("qk_norm": true)",
                                 R"("norm_type": "layernorm")",
                                 R"("scale_depth": 1.4)",
                                 R"("scale_emb": 12)",
                                 R"("pretraining_tp": 2)",
                                 R"("layer_types": ["full_attention", "sliding_attention"])",
                                 R"("layer_types": ["full_attention"])",
                                 R"("num_layers": 3)",
                                 R"("n_embd": 128)",
                                 R"("layer_norm_eps": 1e-12)",
                                 R"("quantization": {"group_size": 64, "bits": 4})",
                                 R"("per_layer_config": {"0": {"hidden_act": "gelu"}})",
                                 R"("my_logit_scale": 2)",
                                 R"("attentionSinks": 4)",
                                 R"("residual_gain_factor": 2)",
                                 R"("embed_norm": true)",
                                 R"("tie_embeddings": true)",
                                 R"("text_config": {"hidden_size": 64})",
                                 R"("kv_sharing": true)",
                                 R"("use_mup": true)",
                                 R"("use_bias": true)",
                                 R"("use_magic": true)"}) {
    const std::string key = pair.substr(1, pair.find('"', 1) - 1);
    expect_refused("{" + pair + "}", {"config.json", key});
  }
}

TEST(ConfigKeys, WhatSaysThatAThingIsOffOrAsComputedIsAccepted) {
  for (const std::string pair : {R"("attention_multiplier": 0.25)",
                                 R"("logits_scaling": 1)",
                                 R"("residual_multiplier": 1.0)",
                                 R"("final_logit_softcapping": null)",
                                 R"("query_pre_attn_scalar": 16)",
                                 R"("sliding_window": null)",
                                 R"("sliding_window": 48)",
                                 R"("use_sliding_window": false, "sliding_window": 8)",
                                 R"("attention_bias": false)",
                                 R"("attention_bias": null)",
                                 R"("rope_interleaved": false)",
                                 R"("partial_rotary_factor": 1.0)",
                                 R"("hidden_act": "silu")",
                                 R"("hidden_act": null)",
                                 R"("num_experts": 0)",
                                 R"("is_causal": true)",
                                 R"("qk_norm": false)",
                                 R"("norm_type": "rmsnorm")",
                                 R"("layer_types": ["full_attention", "full_attention"])",
                                 R"("num_layers": 2)",
                                 R"("n_embd": 64)",
                                 R"("head_dim": null)",
                                 R"("mlp_bias": null)",
                                 R"("some_new_scale": null)",
                                 R"("use_new_thing": false)",
                                 R"("architectures": ["LLaMAForCausalLM"])",
                                 R"("num_key_value_heads": 2)",
                                 R"("quantization_config": null)",
                                 R"("pruned_heads": {})"}) {
    SCOPED_TRACE(pair);
    EXPECT_NO_THROW(parse("{" + pair + "}"));
  }
}

TEST(ConfigKeys, AnotherArchitectureOrQuantizationIsRefusedByItsName) {
  expect_refused(R"({"model_type": "mistral"})", {"model_type", "mistral"});
  expect_refused(R"({"architectures": ["MistralForCausalLM"]})", {"architectures"});
  expect_refused(R"({"model_type": "qwen3"})", {"architectures", "Qwen3ForCausalLM"});
  expect_refused(R"({"quantization_config": {"quant_method": "gptq", "bits": 4, "desc_act": true}})", {"gptq"});
  expect_refused(R"({"quantization_config": {"load_in_4bit": true}})", {"quant_method"});
}

// The keys and values that published folders have, put together anew.
TEST(PublishedConfigs, OfPlainLlamasAreRead) {
  const auto parse_whole = [](const std::string& text) {
    return model::parse_config(files::parse_json(text, "config.json"), "config.json");
  };
  const std::string tiny_llama = R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 5632,
    "max_position_embeddings": 2048, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 22,
    "num_key_value_heads": 4, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.35.0", "use_cache": true,
    "vocab_size": 32000})";
  EXPECT_EQ(parse_whole(tiny_llama).config.kv_heads, 4);
  const std::string smol = R"({"_name_or_path": "x", "architectures": ["LlamaForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 576,
    "initializer_range": 0.041666666666666664, "intermediate_size": 1536, "is_llama_config": true,
    "max_position_embeddings": 8192, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 9,
    "num_hidden_layers": 30, "num_key_value_heads": 3, "pad_token_id": 2, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000, "tie_word_embeddings": true,
    "torch_dtype": "bfloat16", "transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}},
    "transformers_version": "4.42.3", "use_cache": true, "vocab_size": 49152, "unsloth_fixed": true,
    "unsloth_version": "2025.1"})";
  EXPECT_EQ(parse_whole(smol).config.rope_theta, 100000);
  const std::string newer =
      R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": 1, "dtype": "float32", "eos_token_id": [2, 5], "head_dim": 64, "hidden_act": "silu",
    "hidden_size": 512, "initializer_range": 0.02, "intermediate_size": 1408, "max_position_embeddings": 2048,
    "mlp_bias": false, "model_type": "llama", "num_attention_heads": 8, "num_hidden_layers": 8,
    "num_key_value_heads": 8, "pad_token_id": null, "pretraining_tp": 1, "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "tie_word_embeddings": false,
    "transformers_version": "5.1.0", "use_cache": false, "vocab_size": 32000})";
  EXPECT_EQ(parse_whole(newer).config.eos, (std::vector<std::int64_t>{2, 5}));
  const std::string qwen = R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024,
    "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28,
    "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
    "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.51.0", "use_cache": true,
    "use_sliding_window": false, "vocab_size": 151936})";
  EXPECT_TRUE(parse_whole(qwen).config.qk_norm);
}

TEST(ConfigRope, EverySpellingOfUnscaledPositionsIsRead) {
  const auto theta = [](std::string rope) {
    if (!rope.starts_with("\"rope_theta")) rope = "\"rope_theta\": null, " + rope;  // in the place of our own
    return parse("{" + rope + "}").config.rope_theta;
  };
  EXPECT_EQ(theta(R"("rope_scaling": null)"), 10000);
  EXPECT_EQ(theta(R"("rope_scaling": {})"), 10000);
  EXPECT_EQ(theta(R"("rope_theta": 5e5)"), 500000);
  EXPECT_EQ(theta(R"("rope_scaling": {"rope_type": "default"})"), 10000);
  EXPECT_EQ(theta(R"("rope_scaling": {"type": "default", "rope_type": "default", "rope_theta": 1e6})"), 1e6);
  EXPECT_EQ(theta(R"("rope_scaling": {"type": "linear", "factor": 1.0})"), 10000);
  EXPECT_EQ(theta(R"("rope_parameters": {"rope_theta": 1e6, "rope_type": "default"})"), 1e6);
  EXPECT_EQ(theta(R"("rope_parameters": {"rope_theta": 100000, "partial_rotary_factor": 1.0})"), 1e5);
  EXPECT_EQ(theta(R"("rope_theta": 1e6, "rope_parameters": {"rope_theta": 1000000}, "rope_scaling": null)"), 1e6);
  EXPECT_EQ(theta(R"("rotary_base": 20000)"), 20000);
}

TEST(ConfigRope, ScalingsAreRefusedWhereverTheyStand) {
  for (const std::string type :
       {"linear", "dynamic", "yarn", "llama3", "longrope", "su", "ntk", "mrope", "proportional"})
    for (const std::string object : {"rope_scaling", "rope_parameters"})
      for (const std::string key : {"type", "rope_type"})
        expect_refused("{\"" + object + "\": {\"" + key + "\": \"" + type + "\", \"factor\": 2.0}}", {object, type});
  expect_refused(R"({"rope_scaling": {"factor": 8.0}})", {"rope_scaling", "factor"});
  expect_refused(R"({"rope_scaling": {"type": "default", "factor": 8.0}})", {"rope_scaling", "factor"});
  expect_refused(R"({"rope_scaling": "yarn"})", {"rope_scaling"});
}

TEST(ConfigRope, TwoThingsOrAnUnknownKeyAreRefused) {
  expect_refused(R"({"rope_scaling": {"rope_type": "default", "type": "yarn"}})", {"two things", "default", "yarn"});
  expect_refused(R"({"rope_theta": 10000, "rope_parameters": {"rope_theta": 20000}})",
                 {"two things", "10000", "20000"});
  expect_refused(R"({"rope_theta": null, "rope_scaling": {"rope_theta": 1e6}, "rope_parameters": {"rope_theta": 2e6}})",
                 {"two things"});
  expect_refused(R"({"rope_parameters": {"rope_type": "default", "mrope_section": [1, 2]}})",
                 {"rope_parameters", "mrope_section"});
  expect_refused(R"({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}})",
                 {"rope_parameters", "full_attention"});
  expect_refused(R"({"rope_parameters": {"partial_rotary_factor": 0.5}})", {"partial_rotary_factor"});
  expect_refused(R"({"rope_theta": "10000"})", {"rope_theta"});
}

TEST(ConfigTokens, ListsAreReadAndWhatLiesOutsideTheVocabularyIsRefused) {
  using Ids = std::vector<std::int64_t>;
  EXPECT_EQ(parse(R"({"eos_token_id": [2, 7, 2, 299]})").config.eos, (Ids{2, 7, 299}));
  EXPECT_EQ(parse(R"({"eos_token_id": 5})").config.eos, Ids{5});
  EXPECT_EQ(parse(R"({"eos_token_id": []})").config.eos, Ids{});
  EXPECT_EQ(parse(R"({"eos_token_id": null, "bos_token_id": null})").config.eos, Ids{});
  expect_refused(R"({"bos_token_id": -7})", {"bos_token_id", "-7"});
  expect_refused(R"({"bos_token_id": 300})", {"bos_token_id", "300"});
  expect_refused(R"({"bos_token_id": "1"})", {"bos_token_id"});
  expect_refused(R"({"eos_token_id": [2, 300]})", {"eos_token_id", "300"});
  expect_refused(R"({"eos_token_id": -1})", {"eos_token_id", "-1"});
  expect_refused(R"({"eos_token_id": [2, null]})", {"eos_token_id"});
  EXPECT_NO_THROW(parse(R"({"pad_token_id": -1})")) << "nothing is padded here";
}

TEST(ConfigNumbers, AbsurdSizesGetOneLineInTheWordsOfTheFile) {
  for (const std::string key : {"num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size",
                                "vocab_size", "max_position_embeddings", "head_dim", "num_key_value_heads"})
    for (const std::string value : {"1000000000000", "-1", "0", "18446744073709551615", "1e12"})
      expect_refused("{\"" + key + "\": " + value + "}", {key});
  for (const std::string value : {"0", "-1e-5", "1", "1e-320", "1e-39"})
    expect_refused("{\"rms_norm_eps\": " + value + "}", {"rms_norm_eps"});
  for (const std::string value : {"0", "1e-310", "-10000", "1", "1e13"})
    expect_refused("{\"rope_theta\": " + value + "}", {"rope_theta"});
}

TEST(ConfigJson, EveryFormatShapeAndListOfEndTokensComesBack) {
  std::vector<std::string> words{"f32",   "bf16",  "fp4",      "w4a4",     "w1a1", "w1.58a8",
                                 "w4a16", "w16a4", "w4a4+2:4", "bf16+2:4", "w8a8"};
  for (const std::string_view size : model::preset_names())
    for (const std::string& word : words)
      for (const std::vector<std::int64_t>& eos : {std::vector<std::int64_t>{}, {2}, {2, 32}})
        for (const bool other : {false, true}) {
          model::ModelDescription d;
          d.config = model::preset(size);
          d.config.vocab = 512;
          d.config.positions = 64;
          d.config.eos = eos;
          d.config.tied = other;
          d.config.qk_norm = other;
          d.config.rope_theta = other ? 500000.5 : 10000;
          d.config.norm_eps = other ? 1e-6 : 1e-5;
          if (other) d.config.bos = 1;
          d.scheme = default_scheme(parse_format(word));
          d.packed = other && d.scheme.quantized() && d.scheme.format.weight;
          d.scheme_stated = !model::is_plain(d.scheme);
          const std::string text = files::dump_pretty(model::config_json(d));
          const auto back = model::parse_config(files::parse_json(text, "x"), "x");
          EXPECT_EQ(back.config, d.config) << text;
          EXPECT_EQ(back.packed, d.packed);
          EXPECT_TRUE(back.ignored_keys.empty()) << text;
          if (d.scheme_stated) {
            EXPECT_EQ(files::dump_pretty(model::config_json(back)), text);
          }
        }
}

TEST(ConfigJson, TheSameKeyTwiceIsRefused) {
  expect_error(ErrorKind::input, {"config.json", "rope_theta", "twice"},
               [] { files::parse_json(R"({"rope_theta": 1e4, "x": 1, "rope_theta": 1e6})", "config.json"); });
}

}  // namespace
}  // namespace lowbit::test
