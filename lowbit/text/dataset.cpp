#include "lowbit/text/dataset.h"

#include <algorithm>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>

#include "lowbit/base/error.h"
#include "lowbit/base/executor.h"
#include "lowbit/base/interrupt.h"
#include "lowbit/base/progress.h"
#include "lowbit/files/json.h"
#include "lowbit/text/dataset_record.h"
#include "lowbit/text/split.h"
#include "lowbit/text/tokenizer.h"

namespace lowbit::text {
namespace {

constexpr const char* kStopped = "stopped; no data folder was written, and none was changed";
constexpr std::size_t kJobBytes = std::size_t{1} << 19;  // large enough to make a job's overhead vanish

/// A stretch of a document in a job's text, and where its ids end.
struct Part {
  std::size_t begin, size;
  bool begins, held_out;
  std::size_t ids_end = 0;
};

/// What one task encodes.
struct Job {
  std::string text;
  std::vector<Part> parts;
  std::vector<TokenId> ids;
};

/// Encoders that tasks borrow, so that there are as many as threads.
class Encoders {
 public:
  explicit Encoders(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}
  void encode(Job& job) {
    std::unique_ptr<Encoder> encoder = borrow();
    for (Part& part : job.parts) {
      if (part.begins && tokenizer_.bos()) job.ids.push_back(*tokenizer_.bos());
      encoder->encode(std::string_view(job.text).substr(part.begin, part.size), part.begins, job.ids);
      part.ids_end = job.ids.size();
    }
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(encoder));
  }

 private:
  std::unique_ptr<Encoder> borrow() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Encoder>(tokenizer_);
    auto encoder = std::move(free_.back());
    free_.pop_back();
    return encoder;
  }
  Tokenizer tokenizer_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Encoder>> free_;
};

/// Reads, encodes and writes one set of files.
class Pipeline {
 public:
  Pipeline(const Tokenizer& tokenizer, int threads) : tokenizer_(tokenizer), pool_(threads), encoders_(tokenizer) {}

  /// <unk> among the ids of a shard, so far.
  std::uint64_t unknown(const files::TokenShardWriter& shard) const {
    const auto found = unknown_.find(&shard);
    return found == unknown_.end() ? 0 : found->second;
  }

  /// valid may be null when the split holds nothing out. returns how many documents were empty.
  std::uint64_t run(TextReader reader, Split split, files::TokenShardWriter& train, files::TokenShardWriter* valid) {
    Progress progress("encoding", "B", static_cast<double>(reader.total()));
    std::vector<Job> jobs = read(reader, split), next;
    while (!jobs.empty()) {
      check_interrupt(kStopped);
      // The next batch is read while this one is encoded; a single thread takes turns.
      std::future<std::vector<Job>> reading;
      if (pool_.threads() > 1) reading = std::async(std::launch::async, [&] { return read(reader, split); });
      pool_.parallel_for(jobs.size(), [&](std::size_t i) { encoders_.encode(jobs[i]); });
      for (const Job& job : jobs) write(job, train, valid);
      jobs = reading.valid() ? reading.get() : read(reader, split);
      progress.update(static_cast<double>(reader.consumed()));
    }
    return reader.empty_documents();
  }

 private:
  std::vector<Job> read(TextReader& reader, Split& split) {
    std::vector<Job> jobs;
    const std::size_t count = 4 * static_cast<std::size_t>(pool_.threads());
    TextPiece piece;
    while (jobs.size() < count || jobs.back().text.size() < kJobBytes) {
      if (jobs.empty() || jobs.back().text.size() >= kJobBytes) jobs.emplace_back();
      if (!reader.next(piece)) break;
      split.route(piece, [&](std::string_view text, bool begins, bool held_out) {
        Job& job = jobs.back();
        job.parts.push_back({job.text.size(), text.size(), begins, held_out});
        job.text += text;
      });
    }
    if (!jobs.empty() && jobs.back().parts.empty()) jobs.pop_back();
    return jobs;
  }

  void write(const Job& job, files::TokenShardWriter& train, files::TokenShardWriter* valid) {
    std::size_t begin = 0;
    for (const Part& part : job.parts) {
      files::TokenShardWriter& shard = part.held_out ? *valid : train;
      if (part.begins) shard.begin_document();
      const auto ids = std::span(job.ids).subspan(begin, part.ids_end - begin);
      shard.add(ids, part.size);
      if (tokenizer_.unk())
        unknown_[&shard] += static_cast<std::uint64_t>(std::count(ids.begin(), ids.end(), *tokenizer_.unk()));
      begin = part.ids_end;
    }
  }

  Tokenizer tokenizer_;
  ThreadPool pool_;
  Encoders encoders_;
  std::map<const files::TokenShardWriter*, std::uint64_t> unknown_;
};

files::Json text_options(const TextDataOptions& options) {
  files::Json json;
  json["in"] = path_list(options.in);
  if (options.valid_in.empty())
    json["valid_share"] = options.valid_share;
  else
    json["valid_in"] = path_list(options.valid_in);
  json["seed"] = options.seed;
  json["field"] = options.read.field;
  json["document_line"] = options.read.document_line.empty() ? files::Json() : files::Json(options.read.document_line);
  json["tokenizer"] = options.tokenizer.string();
  return json;
}

}  // namespace

DataSummary make_text_data(const TextDataOptions& options) {
  if (options.valid_in.empty()) detail::check_share(options.valid_share);
  const Tokenizer tokenizer = Tokenizer::load(options.tokenizer);
  const Cutter cutter = [tokenizer](std::string_view text) { return tokenizer.last_cut(text); };
  const detail::OutputFolder folder(options.out);

  DataSummary summary;
  Split split;
  if (options.valid_in.empty()) {
    // Two passes: what is held out depends on how many documents there are and how long they are.
    for (const auto& file : options.in) {
      std::error_code error;
      if (std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error) &&
          !std::filesystem::is_directory(file, error))
        fail_input(
            "{} is a pipe, and the text is read twice to hold out a part; give a file, or the held-out text by "
            "--valid-in",
            file.string());
    }
    TextReader reader(options.in, options.read);
    Progress progress("reading", "B", static_cast<double>(reader.total()));
    split = Split::plan(std::move(reader), options.valid_share, options.seed,
                        [&](std::uint64_t bytes) { progress.update(static_cast<double>(bytes)); });
  }
  summary.split = split.description();

  files::TokenShardWriter train(folder / kTrainShard, tokenizer.vocabulary(), tokenizer.hash(), true);
  files::TokenShardWriter valid(folder / kValidShard, tokenizer.vocabulary(), tokenizer.hash(), true);
  Pipeline pipeline(tokenizer, options.threads);
  summary.empty_documents = pipeline.run(TextReader(options.in, options.read, cutter), split, train, &valid);
  if (!options.valid_in.empty())
    summary.empty_documents +=
        pipeline.run(TextReader(options.valid_in, options.read, cutter), Split(), valid, nullptr);
  if (train.counts().tokens == 0) fail_input("no text is left to train on; give more text, or a smaller --valid-share");
  if (valid.counts().tokens == 0)
    fail_input("no text could be held out; give more text, a larger --valid-share, or held-out text by --valid-in");
  check_interrupt(kStopped);

  summary.train_unknown = pipeline.unknown(train);
  summary.valid_unknown = pipeline.unknown(valid);
  // From here on the folder holds no data until its description is written, last.
  folder.invalidate();
  summary.valid_hash = valid.commit();
  summary.valid = valid.counts();
  write_file(folder / "tokenizer.model", tokenizer.file_bytes());
  summary.train_hash = train.commit();
  summary.train = train.counts();
  files::Json tokens;
  tokens["file"] = kTokenizerFile;
  tokens["kind"] = tokenizer.description().kind == TokenizerKind::llama2c ? "llama2.c" : "sentencepiece";
  tokens["hash"] = hash_text(tokenizer.hash());
  tokens["begin_token"] = tokenizer.bos() ? files::Json(*tokenizer.bos()) : files::Json();
  write_data_record(folder / kDataRecord, summary, std::move(tokens), text_options(options));
  return summary;
}

}  // namespace lowbit::text
