#pragma once
#include <string>
#include <vector>

namespace lowbit::test {

struct Outcome {
  int exit_code = -1;  ///< 128 + signal when a signal ended it
  std::string out, err;
};

/// Runs a program with standard input empty and waits for it. stdout_path: where standard output goes instead.
/// signal_after_line: this signal is sent once the program has written a line to standard output.
Outcome run_program(const std::vector<std::string>& arguments, const std::string& stdout_path = {},
                    int signal_after_line = 0);

/// Lines of a text that ends with a line break, or -1 when it does not.
int line_count(const std::string& text);

}  // namespace lowbit::test
