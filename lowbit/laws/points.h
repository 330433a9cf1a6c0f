#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit::laws {

/// One run, as a law sees it.
struct Point {
  double n = 0;            ///< parameters without embeddings, or as the user counts them: one way for all
  double d = 0;            ///< tokens trained on
  std::size_t format = 0;  ///< into Points::formats
  double loss = 0;         ///< nats per token on held-out text, > 0
  std::string where;       ///< "runs.csv:12" or the run's folder, for messages
};

/// Runs of several sizes and formats. Runs that differ in their seed alone stand beside each other.
struct Points {
  std::vector<std::string> formats;  ///< as they are written in the source, in the order in which they appear
  std::vector<Point> points;
  std::vector<std::string> notes;  ///< what was left out, one sentence each

  /// The place of a format, made where it is new. Spelling of letters does not matter: W4A4 is w4a4.
  std::size_t format(std::string_view name);
  std::optional<std::size_t> find(std::string_view name) const;
};

/// Runs from a CSV file with a header that names the columns N, D, format and loss, in any order and case; further
/// columns are passed over. Numbers may end in k, M, G, B or T (30M, 3B) and hold _ or, quoted, commas. A row whose
/// loss is empty or
/// "-" is a run that was not made: left out, and said in `notes`. Lines that are empty or begin with # count for
/// nothing. throws Error(input) with file and line: a column is missing, a number is none, not positive or NaN, no
/// rows.
Points read_csv(std::string_view text, std::string_view where);

/// Cells of one line of a CSV file; quotes as in RFC 4180, within one line. throws Error(input): a quote is not closed.
std::vector<std::string> cells_of(std::string_view line, std::string_view where);

/// "30M", "3e7", "30_482_560", "160B" as a number; nothing when it is none.
std::optional<double> parse_count(std::string_view text);

}  // namespace lowbit::laws
