#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "lowbit/base/file_map.h"
#include "lowbit/base/file_write.h"
#include "lowbit/files/checkpoint.h"

namespace lowbit::test {

/// The files of a checkpoint that tests write; the bytes tell the step. One is larger than AtomicFile's buffer.
inline std::map<std::string, std::string> checkpoint_files(std::int64_t step) {
  const std::string text = "step " + std::to_string(step) + "\n";
  std::string large;
  while (large.size() < (std::size_t{1} << 20) + 1000) large += text;
  return {{"model.safetensors", large}, {"optimizer.safetensors", text + text}, {"state.json", text}, {"empty", ""}};
}

inline void write_checkpoint(const std::filesystem::path& run, std::int64_t step) {
  files::CheckpointWriter writer(run, step);
  for (const auto& [name, bytes] : checkpoint_files(step)) writer.add(name, bytes);
  writer.finish();
}

/// Whether every file of the checkpoint holds the bytes of its step.
inline bool holds_its_step(const files::Checkpoint& checkpoint) {
  for (const auto& [name, bytes] : checkpoint_files(checkpoint.step))
    if (read_file(checkpoint.folder / name) != bytes) return false;
  return true;
}

/// Sets file_fault while it lives.
struct Fault {
  template <class F>
  explicit Fault(F&& hook) {
    file_fault = std::forward<F>(hook);
  }
  ~Fault() { file_fault = nullptr; }
  Fault(const Fault&) = delete;
  Fault& operator=(const Fault&) = delete;
};

}  // namespace lowbit::test
