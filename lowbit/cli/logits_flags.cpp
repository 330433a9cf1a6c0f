#include "lowbit/cli/logits_flags.h"

#include "lowbit/base/error.h"
#include "lowbit/base/file_map.h"

namespace lowbit::cli {

void declare_logits(CLI::App& verb, LogitsFlags& f) {
  add_option(verb, "--model", f.model, "model folder or run folder")->required()->type_name("DIR");
  add_option(verb, "--ids", f.ids, "file of raw little-endian token ids")->required()->type_name("FILE");
  add_option(verb, "--ids-bytes", f.ids_bytes, {2, 4}, "bytes per id: 2 or 4");
  add_option(verb, "--out", f.out, ".npy file to write: float32 [tokens, vocabulary]")->required()->type_name("FILE");
  add_choice(verb, "--engine", f.engine, {"run", "train"}, "run: inference; train: the forward pass of training");
  add_option(verb, "--chunk", f.chunk, {1, 1 << 20}, "tokens that the run engine computes at a time");
  add_option(verb, "--window", f.window, {1}, "split the ids into sequences of this many tokens, each from position 0")
      ->default_str("one sequence");
  add_option(verb, "--kernel", f.kernel,
             "use this kernel for the blocks: codes, packed, planes, ...; the logits stay the same")
      ->type_name("NAME")
      ->default_str("the fastest by the machine model");
  add_common(verb, f.common);
}

std::vector<std::int32_t> read_ids(const LogitsFlags& f, std::int64_t vocab) {
  if (f.ids_bytes != 2 && f.ids_bytes != 4) fail_usage("--ids-bytes must be 2 or 4, not {}", f.ids_bytes);
  const FileMap map(f.ids);
  const auto width = static_cast<std::size_t>(f.ids_bytes);
  if (map.size() % width != 0)
    fail_input("{} has {} bytes, which is no whole number of ids of {} bytes; is it cut short, or --ids-bytes wrong?",
               map.path(), map.size(), width);
  std::vector<std::int32_t> ids(map.size() / width);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::uint32_t id = 0;
    for (std::size_t b = 0; b < width; ++b) id |= std::to_integer<std::uint32_t>(map.bytes()[i * width + b]) << (8 * b);
    if (id >= static_cast<std::uint64_t>(vocab))
      fail_input("{}: token {} has the id {}, outside the vocabulary of {}", map.path(), i, id, vocab);
    ids[i] = static_cast<std::int32_t>(id);
  }
  return ids;
}

std::size_t window_length(const LogitsFlags& f, std::size_t ids, std::int64_t context) {
  const std::size_t window = f.window > 0 ? static_cast<std::size_t>(f.window) : ids;
  if (ids % window != 0) fail_input("{} holds {} ids, no whole number of windows of {}", f.ids.string(), ids, window);
  if (window > static_cast<std::size_t>(context))
    fail_input("a sequence of {} tokens does not fit this model's context of {}; cut the ids by --window {}", window,
               context, context);
  return window;
}

}  // namespace lowbit::cli
