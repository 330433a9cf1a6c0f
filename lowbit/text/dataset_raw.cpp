#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/text/dataset.h"
#include "lowbit/text/dataset_record.h"

namespace lowbit::text {
namespace {

constexpr const char* kStopped = "stopped; no data folder was written, and none was changed";

/// Calls sink with the ids of the files, in order and in pieces. throws Error(input) as make_raw_data says.
void read_ids(const std::vector<std::filesystem::path>& paths, int width, std::uint64_t vocabulary,
              const std::function<void(std::span<const std::uint32_t>)>& sink) {
  std::vector<char> bytes(std::size_t{1} << 20);
  std::vector<std::uint32_t> ids;
  const auto step = static_cast<std::size_t>(width);
  for (const auto& path : paths) {
    const auto stream = open_bytes(path);
    std::uint64_t before = 0;
    // A stream fills what it is given unless it has ended, so a piece that is no multiple of the width ends the file.
    while (const std::size_t got = stream->read(bytes)) {
      check_interrupt(kStopped);
      if (got % step != 0)
        fail_input("{} has {} bytes, which is no whole number of {}-byte ids; is it cut short, or of another width?",
                   path.string(), before * step + got, width);
      ids.resize(got / step);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        std::uint32_t id = 0;
        std::memcpy(&id, bytes.data() + i * step, step);
        if (id >= vocabulary)
          fail_input("{}: id {} at place {} is not below --vocab-size {}", path.string(), id, before + i, vocabulary);
        ids[i] = id;
      }
      before += ids.size();
      sink(ids);
    }
  }
}

}  // namespace

DataSummary make_raw_data(const RawDataOptions& options) {
  if (options.in.empty()) fail_usage("no token files given");
  if (options.vocabulary == 0 || options.vocabulary > std::uint64_t{1} << 8 * options.width)
    fail_usage("--vocab-size {} is out of range; ids of {} bytes take 1 to {}", options.vocabulary, options.width,
               std::uint64_t{1} << 8 * options.width);
  const bool share = options.valid_in.empty();
  if (share) detail::check_share(options.valid_share);
  const detail::OutputFolder folder(options.out);

  DataSummary summary;
  std::uint64_t total = 0;
  read_ids(options.in, options.width, options.vocabulary, [&](auto ids) { total += ids.size(); });
  std::uint64_t boundary = total;
  if (share) {
    boundary = total - static_cast<std::uint64_t>(options.valid_share * static_cast<double>(total) + 0.5);
    if (total < 2 || boundary == total)
      fail_input("{} ids are too few to hold out {} of them", total, options.valid_share);
    summary.split = fmt::format("the last {} of {} tokens held out", total - boundary, total);
  } else {
    summary.split = "held-out tokens from files of their own";
  }

  files::TokenShardWriter train(folder / kTrainShard, options.vocabulary, 0, false);
  files::TokenShardWriter valid(folder / kValidShard, options.vocabulary, 0, false);
  std::uint64_t at = 0;
  read_ids(options.in, options.width, options.vocabulary, [&](std::span<const std::uint32_t> ids) {
    const std::size_t to_train =
        static_cast<std::size_t>(std::min<std::uint64_t>(ids.size(), boundary - std::min(boundary, at)));
    train.add(ids.first(to_train), 0);
    valid.add(ids.subspan(to_train), 0);
    at += ids.size();
  });
  if (!share) read_ids(options.valid_in, options.width, options.vocabulary, [&](auto ids) { valid.add(ids, 0); });
  check_interrupt(kStopped);

  // From here on the folder holds no data until its description is written, last.
  folder.invalidate();
  summary.valid_hash = valid.commit();
  summary.valid = valid.counts();
  summary.train_hash = train.commit();
  summary.train = train.counts();
  std::error_code ignored;
  std::filesystem::remove(folder / "tokenizer.model", ignored);  // of other data, written over by --force
  files::Json json;
  json["in"] = path_list(options.in);
  if (share)
    json["valid_share"] = options.valid_share;
  else
    json["valid_in"] = path_list(options.valid_in);
  json["id_bytes"] = options.width;
  write_data_record(folder / kDataRecord, summary, files::Json(), std::move(json));
  return summary;
}

}  // namespace lowbit::text
