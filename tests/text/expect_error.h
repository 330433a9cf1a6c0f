#pragma once
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "lowbit/base/error.h"

namespace lowbit::test {

/// The message of the Error that `call` throws; a failure when it throws none, or one of another kind.
template <class F>
std::string error_of(ErrorKind kind, F&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

inline void expect_contains(const std::string& message, std::string_view part) {
  EXPECT_NE(message.find(part), std::string::npos) << "'" << message << "' lacks '" << part << "'";
}

}  // namespace lowbit::test
