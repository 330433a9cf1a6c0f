#pragma once
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "lowbit/base/error.h"

namespace lowbit::test {

/// Runs `act` and expects an Error of that kind, on one line, whose text holds each of `parts`.
template <class F>
void expect_error(ErrorKind kind, std::initializer_list<std::string_view> parts, F&& act) {
  try {
    act();
    ADD_FAILURE() << "no Error";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.kind(), kind) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    for (const std::string_view part : parts)
      EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
  }
}

}  // namespace lowbit::test
