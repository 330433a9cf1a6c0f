#pragma once
#include <filesystem>
#include <vector>

#include "lowbit/files/json.h"
#include "lowbit/text/dataset.h"

namespace lowbit::text {

files::Json path_list(const std::vector<std::filesystem::path>& paths);
/// data.json: what the shards hold and the options that made them. tokenizer: its entry, or null.
void write_data_record(const std::filesystem::path& path, const DataSummary& summary, files::Json tokenizer,
                       files::Json options);

}  // namespace lowbit::text
