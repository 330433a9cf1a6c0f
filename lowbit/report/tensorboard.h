#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lowbit/report/append_file.h"

// TensorBoard's event files: TFRecord frames that hold Event messages of protocol buffers (tensorflow
// core/lib/io/record_writer.h, core/util/event.proto, core/framework/summary.proto), written by hand, because scalars
// need six fields of it.
namespace lowbit::report {

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of some bytes; "123456789" gives 0xE3069283.
std::uint32_t crc32c(std::string_view bytes);

/// A checksum as TFRecord stores it, rotated and offset, so that checksums of data with checksums inside stay useful.
std::uint32_t masked_crc32c(std::string_view bytes);

/// One TFRecord: length (8 bytes), masked CRC of those, data, masked CRC of the data; integers little-endian.
std::string tf_record(std::string_view data);

struct Scalar {
  std::string_view tag;  ///< "loss/train": the part before the slash groups plots
  float value = 0;
};

/// The first record of a file: Event{wall_time, file_version "brain.Event:2"}.
std::string version_record(double wall_time);
/// Event{wall_time, step, summary with one value a scalar}. wall_time is in seconds since 1970. A value that is not
/// finite is written as it is: TensorBoard draws it as a triangle.
std::string scalars_record(double wall_time, std::int64_t step, std::span<const Scalar> scalars);

/// One event file, that TensorBoard finds by "tfevents" in its name, written at its end.
class EventFile {
 public:
  /// Opens path to go on behind its last whole record, or starts it with a version record. throws Error: input when the
  /// file is there but is no event file; failed when it cannot be written.
  EventFile(const std::filesystem::path& path, double wall_time);
  void add(double wall_time, std::int64_t step, std::span<const Scalar> scalars);
  void sync() { file_.sync(); }

 private:
  AppendFile file_;
};

/// Rewrites the file without the events of later steps and without a torn end, atomically, as resuming from a
/// checkpoint of that step needs. No file is fine. throws Error: input when its first record is no event; failed as
/// AtomicFile.
void cut_events(const std::filesystem::path& path, std::int64_t last_step);

/// The step of an Event message; 0 when it has none; nothing when the bytes are no such message.
std::optional<std::int64_t> event_step(std::string_view message);

}  // namespace lowbit::report
