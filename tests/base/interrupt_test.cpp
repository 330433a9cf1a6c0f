#include "lowbit/base/interrupt.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "lowbit/base/error.h"

namespace lowbit {
namespace {

TEST(InterruptDeathTest, AroundALibrarysCallTheFirstSignalEndsTheProcess) {
  for (const int signal : {SIGINT, SIGTERM})
    EXPECT_EXIT(
        {
          catch_interrupts();
          const StopAtOnce stop("stopped here\n");
          raise(signal);
          _exit(0);
        },
        testing::ExitedWithCode(130), "stopped here");
}

TEST(InterruptDeathTest, BehindItASignalSetsTheFlagAndNoOtherIsEntered) {
  EXPECT_EXIT(
      {
        catch_interrupts();
        { const StopAtOnce stop("never shown\n"); }
        raise(SIGINT);
        bool refused = false;
        try {
          const StopAtOnce late("never shown\n");
        } catch (const Interrupted&) {
          refused = true;
        }
        _exit(interrupted() && refused ? 7 : 0);
      },
      testing::ExitedWithCode(7), "^$");
}

}  // namespace
}  // namespace lowbit
