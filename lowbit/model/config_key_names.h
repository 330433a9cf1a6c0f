#pragma once
#include <array>
#include <string_view>

// Names by which config_keys.cpp tells keys of config.json apart.
// clang-format off
namespace lowbit::model {

// What parse_config reads.
inline constexpr auto kRead = std::to_array<std::string_view>({
    "architectures",   "model_type",   "hidden_size",    "intermediate_size",       "num_hidden_layers",
    "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings",
    "rms_norm_eps",    "rope_theta",   "rope_scaling",   "rope_parameters",         "rotary_base",
    "rope_base",       "rotary_emb_base", "rope_freq_base", "tie_word_embeddings",  "bos_token_id",
    "eos_token_id",    "torch_dtype",  "dtype",          "quantization_config"});

// Names whose words would make them suspect (below), but which only speak of software, training or front ends.
inline constexpr auto kHarmless = std::to_array<std::string_view>({
    "_attn_implementation", "attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal",
    "_experts_implementation", "_flash_attn_2_enabled", "use_flash_attn", "use_flash_attention",
    "use_flash_attention_2",
    "flash_attention", "flash_attn", "use_flashattn", "use_sdpa", "use_xformers", "use_memory_efficient_attention",
    "use_cache", "use_cache_quantization", "cache_implementation", "is_llama_config", "is_decoder",
    "initializer_range",
    "initializer_factor", "init_std", "init_method_std", "init_scale", "init_config", "output_attentions",
    "output_hidden_states", "output_scores", "use_return_dict", "return_dict", "return_dict_in_generate",
    "chunk_size_feed_forward", "torchscript", "use_bfloat16", "use_fp16", "use_bf16", "fp16", "bf16", "fp32",
    "temperature", "top_k", "top_p", "typical_p", "do_sample", "repetition_penalty", "length_penalty",
    "diversity_penalty", "encoder_no_repeat_ngram_size", "no_repeat_ngram_size", "num_beams", "num_beam_groups",
    "num_return_sequences", "max_length", "min_length", "early_stopping", "bad_words_ids", "remove_invalid_values",
    "prefix", "num_labels", "transformers.js_config", "max_window_layers", "original_max_position_embeddings",
    "n_positions", "n_ctx", "max_sequence_length", "max_seq_len", "max_seq_length", "seq_length", "sequence_length",
    "context_length", "model_max_length", "weight_decay", "gradient_checkpointing", "use_liger_kernel"});

// A word of these in a name: the key is about training, software or people.
inline constexpr auto kHarmlessWords = std::to_array<std::string_view>({
    "version", "dropout", "droppath", "loss", "optimizer", "optim", "lr", "learning", "warmup", "batch", "epoch",
    "epochs",
    "seed", "wandb", "dataset", "datasets", "data", "train", "trained", "training", "trainer", "pretrained",
    "pretraining",
    "finetune", "finetuned", "finetuning", "unsloth", "axolotl", "trl", "peft", "lora", "qlora", "adapter",
    "deepspeed",
    "fsdp", "megatron", "checkpointing", "checkpoint", "logging", "author", "authors", "license", "date",
    "timestamp",
    "path", "dir", "url", "hub", "commit", "label", "labels", "task", "template", "chat", "prompt", "language",
    "languages",
    "tag", "tags", "tokenizer", "description", "note", "notes", "comment", "created", "implementation", "fused",
    "fuse",
    "implementations", "serve"});

// Parts of a name that speak of arithmetic: with one of them an unknown key could change a logit.
inline constexpr auto kSuspectParts = std::to_array<std::string_view>({
    "scal", "multipl", "softcap", "bias", "rope", "rotary", "norm", "window", "attn", "attention", "expert",
    "router",
    "activation", "logit", "hidden", "quant", "alibi", "sink", "position", "residual", "epsilon", "embed",
    "interleav",
    "theta", "causal", "spars", "layer", "temperature", "recurren", "parallel", "factor", "dilat", "compress",
    "softmax",
    "sigmoid", "truncat", "bidirection", "vision", "audio", "encoder", "decoder", "prun", "weight"});
inline constexpr auto kSuspectWords = std::to_array<std::string_view>({
    "act", "cap", "moe", "dim", "eps", "tie", "tied", "mup", "kv", "qk", "qkv", "rms", "ntk", "yarn", "freq",
    "lambda",
    "alpha", "beta", "gamma", "width", "depth", "clip", "conv", "ssm", "mamba", "glu", "gelu", "relu", "silu",
    "swiglu",
    "block", "blocks", "cross", "config", "head", "heads", "mlp", "ffn", "mask", "gate", "gated", "mult", "size",
    "num",
    "use", "enable", "apply", "skip", "mtp", "mrope", "text", "mix", "shared", "power"});

// Factors that a Llama does not have: only 1 is computed.
inline constexpr auto kOnes = std::to_array<std::string_view>({
    "pretraining_tp", "logits_scaling", "logit_scale", "logits_scale", "output_logit_scale", "residual_multiplier",
    "embedding_multiplier", "lm_head_multiplier", "residual_scale", "embedding_scale", "scale_emb", "rope_ratio",
    "rope_scale", "rope_factor", "rope_scaling_factor", "partial_rotary_factor", "rotary_pct", "rotary_percent",
    "rope_percentage", "mup_width_multiplier", "width_multiplier", "output_multiplier", "output_multiplier_scale"});

// Things that a Llama does not have: only what says so is accepted.
inline constexpr auto kOff = std::to_array<std::string_view>({
    "alibi", "use_alibi", "is_encoder_decoder", "tie_encoder_decoder", "add_cross_attention",
    "cross_attention_hidden_size", "pruned_heads", "num_experts", "num_local_experts", "n_routed_experts",
    "n_shared_experts", "num_experts_per_tok", "moe_intermediate_size", "num_nextn_predict_layers",
    "num_mtp_layers", "final_logit_softcapping", "attn_logit_softcapping", "logit_softcapping", "clip_qkv",
    "parallel_attn", "parallel_attention", "use_parallel_residual", "apply_residual_connection_post_layernorm",
    "attn_temperature_tuning", "attn_output_gate", "elementwise_attn_output_gate", "headwise_attn_output_gate",
    "use_attention_sink", "attention_sink", "attention_sinks", "quantization", "compression_config",
    "per_layer_config", "no_rope_layers", "no_rope_layer_interval", "mup", "use_mup", "use_logit_softcapping",
    "mlp_only_layers"});

}  // namespace lowbit::model
// clang-format on
