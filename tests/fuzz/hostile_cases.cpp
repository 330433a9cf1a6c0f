#include <fmt/format.h>

#include <cstring>

#include "fuzz/targets.h"

// Inputs that once brought a reader down, took it long, or made it take much memory, and their kin.
namespace lowbit::fuzz {
namespace {

std::string repeat(std::string_view part, std::size_t times) {
  std::string out;
  out.reserve(part.size() * times);
  for (std::size_t i = 0; i < times; ++i) out += part;
  return out;
}

std::string nested(std::string_view open, std::string_view close, std::size_t times, std::string_view inside = "") {
  return repeat(open, times) + std::string(inside) + repeat(close, times);
}

std::string from_hex(std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return out;
}

std::string safetensors_file(std::string_view header, std::size_t data = 0) {
  const std::uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + std::string(header) + std::string(data, '\1');
}

std::string empty_tensors(std::size_t count) {
  std::string header = "{";
  for (std::size_t i = 0; i < count; ++i)
    header += fmt::format("{}\"t{}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", i ? "," : "", i);
  return safetensors_file(header + "}");
}

std::string many_keys(std::size_t count) {
  std::string text = "{";
  for (std::size_t i = 0; i < count; ++i) text += fmt::format("{}\"key{}\":{}", i ? "," : "", i, i);
  return text + "}";
}

// ---- SentencePiece models, as protocol buffers ----
std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  return out += static_cast<char>(value);
}
std::string field(int number, std::string_view content) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 2) + varint(content.size()) + std::string(content);
}
std::string number(int field_number, std::uint64_t value) {
  return varint(static_cast<std::uint64_t>(field_number) << 3) + varint(value);
}
std::string piece(std::string_view text, int type, float score = 0) {
  std::string bytes = field(1, text) + varint(2 << 3 | 5);
  bytes.append(reinterpret_cast<const char*>(&score), 4);
  return field(1, bytes + number(3, static_cast<std::uint64_t>(type)));
}
/// Unknown, then `more`; a BPE model with our own encoder's flags, or a unigram model for the library.
std::string sentencepiece(const std::string& more, bool bpe, std::string_view surface = " x ") {
  std::string bytes;
  if (bpe)
    for (int b = 0; b < 256; ++b) bytes += piece(fmt::format("<0x{:02X}>", b), 6);
  return piece("<unk>", 2) + bytes + more +
         field(2, number(3, bpe ? 2 : 1) + (bpe ? number(35, 1) : "") + field(44, surface)) +
         field(3, field(1, "identity") + number(3, 0) + number(4, 0) + number(5, 1));
}
std::string charsmap(const std::vector<std::uint32_t>& units, std::string_view replacements) {
  const auto size = static_cast<std::uint32_t>(4 * units.size());
  std::string table(reinterpret_cast<const char*>(&size), 4);
  table.append(reinterpret_cast<const char*>(units.data()), size);
  table += replacements;
  return piece("<unk>", 2) + piece("a", 1) + field(3, field(2, table));
}

std::string own_bytes(int doubled, int missing) {
  std::string bytes = piece("<unk>", 2);
  for (int b = 0; b < 256; ++b) bytes += piece(fmt::format("<0x{:02X}>", b == missing ? doubled : b), 6);
  return bytes + field(2, number(3, 2) + number(35, 1)) + field(3, number(3, 0) + number(4, 0));
}

}  // namespace

std::vector<Case> hostile_cases() {
  std::vector<Case> cases;
  const auto add = [&](std::string target, std::string name, std::function<std::string()> bytes) {
    cases.push_back({std::move(target), std::move(name), std::move(bytes)});
  };
  // Depth.
  for (const char* target : {"json", "config_json", "text_lines", "manifest", "run_folder"}) {
    add(target, "deep_lists", [] { return nested("[", "]", 33000); });
    add(target, "deep_open", [] { return repeat("[", 1000000); });
    add(target, "deep_objects", [] { return nested("{\"a\":", "}", 33000, "1"); });
    add(target, "deep_value", [] { return "{\"hidden_size\":" + nested("[", "]", 33000) + ",\"version\":1}"; });
    add(target, "many_keys", [] { return many_keys(50000); });
    add(target, "many_empty", [] { return "{\"text\":\"x\",\"m\":[{}" + repeat(",{}", 40000) + "]}"; });
    add(target, "many_empty_members", [] {
      std::string text = "{\"text\":\"x\"";
      for (int i = 0; i < 15000; ++i) text += fmt::format(",\"k{}\":{{}}", i);
      return text + "}";
    });
    add(target, "many_values", [] { return "[0" + repeat(",0", 5000000) + "]"; });
    add(target, "long_key", [] { return "{\"" + std::string(3000000, 'k') + "\":1}"; });
    add(target, "huge_number", [] { return "{\"version\":" + std::string(100000, '9') + "}"; });
    add(target, "overflow", [] { return std::string("{\"version\":1e999}"); });
  }
  add("run_folder", "deep_flags", [] { return "{\"flags\":{\"a\":" + nested("[", "]", 33000) + "}}"; });
  add("run_folder", "deep_metrics", [] {
    return "{}\n@@@\n" + nested("[", "]", 33000) + "\n{\"kind\":\"step\",\"step\":" + nested("[", "]", 33000) + "}\n";
  });
  add("run_folder", "whole_numbers", [] {
    return std::string(
        "{\"model\":{\"layers\":9223372036854775807,\"width\":1e300},\"steps\":-1}\n@@@\n{\"kind\":\"step\",\"step\":"
        "1e300,\"loss\":null}\n");
  });
  for (const char* target : {"toml", "sweep_plan"}) {
    add(target, "dotted", [] { return "a" + repeat(".a", 31000) + "=1"; });
    add(target, "dotted_table", [] { return "[a" + repeat(".a", 31000) + "]\nb=1"; });
    add(target, "dotted_quoted", [] { return "\"a\"" + repeat(" . 'a'", 9000) + "=1"; });
    add(target, "dotted_megabytes", [] { return "a" + repeat(".a", 2000000) + "=1"; });
    add(target, "lists", [] { return "a=" + nested("[", "]", 31000); });
    add(target, "tables", [] { return "a=" + nested("{a=", "}", 31000, "1"); });
    add(target, "both", [] { return "a=" + nested("{a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a=", "}", 30, "1"); });
    add(target, "arrays_of_tables", [] { return repeat("[[a]]\n", 30000); });
    add(target, "many_keys", [] {
      std::string text = "[grid]\n";
      for (int i = 0; i < 40000; ++i) text += fmt::format("k{}=1\n", i);
      return text;
    });
    add(target, "open_string", [] { return "a=\"\"\"" + std::string(60000, 'x'); });
    add(target, "numbers", [] { return std::string("a=99999999999999999999\nb=0x" + std::string(50000, 'f') + "\n"); });
    add(target, "dates", [] { return std::string("a=2020-99-99T99:99:99.999999999999+99:99\n"); });
  }
  add("sweep_plan", "equal_values", [] {
    std::string text = "[grid]\n";
    for (const char* key : {"a", "b", "c", "d"}) text += fmt::format("{}=[1{}]\n", key, repeat(",1", 500));
    return text;
  });

  // Tensors.
  add("safetensors", "empty_tensors", [] { return empty_tensors(40000); });
  add("safetensors", "deep", [] { return safetensors_file("{\"a\":" + nested("[", "]", 33000) + "}"); });
  add("safetensors", "deep_metadata",
      [] { return safetensors_file("{\"__metadata__\":{\"a\":" + nested("{\"a\":", "}", 33000, "1") + "}}"); });
  add("safetensors", "many_lists", [] { return safetensors_file("{\"a\":[[]" + repeat(",[]", 3000000) + "]}"); });
  add("safetensors", "rank", [] {
    return safetensors_file(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1" + repeat(",1", 100000) + "],\"data_offsets\":[0,1]}}", 1);
  });
  add("safetensors", "wrap", [] {
    return safetensors_file(R"({"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}})", 4);
  });
  add("safetensors", "wrap_zero", [] {
    return safetensors_file(
        R"({"a":{"dtype":"F32","shape":[0,9223372036854775807,9223372036854775807],"data_offsets":[0,0]}})");
  });
  add("safetensors", "overlap", [] {
    return safetensors_file(
        R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
        6);
  });
  add("npy", "wrap", [] {
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }";
    header.resize(118, ' ');
    return std::string("\x93NUMPY\1\0\x76\0", 10) + header;
  });
  add("npy", "backwards",
      [] { return std::string("\x93NUMPY\1\0\x40\0", 10) + ")'descr': '<f4' 'fortran_order': False 'shape': ("; });

  // Tables.
  add("fit_csv", "numbers", [] { return std::string("N,D,format,loss\n1e999,0x1p3,w4a4,nan\n"); });
  add("fit_csv", "infinite", [] { return std::string("N,D,format,loss\n1e308T,1,w4a4,1\n"); });
  add("fit_csv", "formats", [] {
    std::string text = "N,D,format,loss\n";
    for (int i = 0; i < 60000; ++i) text += fmt::format("1,1,f{},1\n", i);
    return text;
  });
  add("fit_csv", "columns", [] { return "N" + repeat(",x", 500000) + "\n"; });
  add("fit_csv", "quotes", [] { return "N,D,format,loss\n" + repeat("\"\"", 500000) + "\"\n"; });

  // Tokenizers.
  add("tokenizer", "charsmap_41_bytes",
      [] { return from_hex("0a0e0a053c756e6b3e150000000018020a0a0a0161150000000018011a0b120904000000ffffffff61"); });
  add("tokenizer", "zero_in_piece_30_bytes",
      [] { return from_hex("0a0e0a0a0c0a0a0a01781500000018020a0c0a0a00000000000000001d01"); });
  add("tokenizer", "zero_in_piece", [] { return sentencepiece(piece(std::string("a\0b", 3), 1), false); });
  add("tokenizer", "zero_in_bpe_piece", [] { return sentencepiece(piece(std::string("\0", 1), 4), true); });
  add("tokenizer", "twice", [] { return sentencepiece(piece("ab", 1) + piece("ab", 1), true); });
  add("tokenizer", "two_unknown", [] { return sentencepiece(piece("<u>", 2), true); });
  add("tokenizer", "no_unknown", [] { return sentencepiece(piece("ab", 1), true).substr(piece("<unk>", 2).size()); });
  add("tokenizer", "byte_doubled", [] { return own_bytes(7, 9); });
  add("tokenizer", "surface", [] {
    std::string more;
    for (int i = 0; i < 30000; ++i) more += piece(fmt::format("u{}", i), 2);
    return sentencepiece(more, true, std::string(65536, 'x'));
  });
  add("tokenizer", "long_surface", [] { return sentencepiece(piece("a", 1), true, std::string(65536, 'x')); });
  add("tokenizer", "long_piece", [] { return sentencepiece(piece(std::string(1 << 20, 'a') + "b", 4), true); });
  add("tokenizer", "longest_piece", [] { return sentencepiece(piece(std::string(4095, 'a') + "b", 4), false); });
  for (const bool bpe : {false, true})
    add("tokenizer", bpe ? "nested_pieces_bpe" : "nested_pieces", [bpe] {
      std::string more;
      for (std::size_t i = 1; i <= 100; ++i) more += piece(std::string(i, 'a'), 4);
      return sentencepiece(more, bpe);
    });
  add("tokenizer", "infinite_score", [] { return sentencepiece(piece("a", 1, 1e38f) + piece("b", 1, -3e38f), false); });
  add("tokenizer", "empty_piece", [] { return sentencepiece(piece("", 4), false); });
  add("tokenizer", "bad_utf8", [] { return sentencepiece(piece("\xFF", 1), false); });
  add("tokenizer", "self_test", [] {
    return sentencepiece(piece("a", 1), false) + field(4, field(1, field(1, std::string("\xFF\0", 2)) + field(2, "x")));
  });
  add("tokenizer", "denormalizer", [] {
    return sentencepiece(piece("a", 1), false) + field(5, field(2, std::string("\4\0\0\0\xFF\xFF\xFF\xFFz", 9)));
  });
  add("tokenizer", "types", [] { return sentencepiece(piece("a", 3) + piece("b", 5) + piece("c", 4), false); });
  add("tokenizer", "charsmap_loop",
      [] { return charsmap(std::vector<std::uint32_t>(256, 'a'), std::string("x\0", 2)); });
  add("tokenizer", "charsmap_leaves", [] {
    std::vector<std::uint32_t> units(256);
    for (std::uint32_t i = 0; i < 256; ++i) units[i] = (i ^ 'h') | 0x100;
    return charsmap(units, std::string("x\0", 2));
  });
  add("tokenizer", "charsmap_open", [] { return charsmap(std::vector<std::uint32_t>(256), "x"); });
  add("tokenizer", "llama2c_huge", [] { return from_hex("00100000") + std::string("\0\0\0\0\xFF\xFF\xFF\x7F", 8); });

  // Model folders.
  add("model_folder", "fifty_thousand_keys", [] { return join_files({{"config.json", many_keys(50000)}}); });
  add("model_folder", "deep_index", [] {
    return join_files(
        {{"config.json", "{}"}, {"model.safetensors.index.json", "{\"weight_map\":" + nested("[", "]", 33000) + "}"}});
  });
  add("model_folder", "huge_shape", [] {
    return join_files(
        {{"config.json",
          R"({"num_hidden_layers":1024,"hidden_size":1048576,"num_attention_heads":4096,"intermediate_size":1048576,
"vocab_size":16777216,"head_dim":256,"max_position_embeddings":1048576})"},
         {"model.safetensors", safetensors_file("{}")}});
  });
  add("manifest", "climbs", [] {
    return std::string(R"({"version":1,"step":7,"files":[{"name":"../../x","bytes":0,"xxh3":"0000000000000000"}]})");
  });
  add("manifest", "huge", [] { return std::string(R"({"version":1,"step":9223372036854775808,"files":[]})"); });
  return cases;
}

}  // namespace lowbit::fuzz
