#include "lowbit/base/file_write.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "lowbit/base/error.h"
#include "lowbit/base/file_lock.h"
#include "lowbit/base/file_map.h"
#include "lowbit/base/interrupt.h"
#include "support/data.h"

namespace lowbit {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(AtomicFile, TwoWritersOfOneNameDoNotMeetEvenWithOneProcessNumber) {
  const TemporaryFolder folder;
  AtomicFile a(folder / "x"), b(folder / "x");
  EXPECT_NE(a.temporary(), b.temporary());
  a.write("first");
  b.write("second");
  b.commit();
  EXPECT_EQ(read_file(folder / "x"), "second");
  a.commit();
  EXPECT_EQ(read_file(folder / "x"), "first");
  EXPECT_EQ(names_in(folder.path()), std::set<std::string>{"x"});
  for (const auto& name : {a.temporary(), b.temporary()})
    EXPECT_TRUE(is_temporary_name(name.filename().native())) << name;
}

TEST(AtomicFile, NeitherFollowsNorOverwritesWhatHasItsTemporaryName) {
  // 64 random bits: no name is guessed; what matters is O_EXCL, seen in that a name is never opened twice.
  const TemporaryFolder folder;
  std::set<fs::path> names;
  for (int i = 0; i < 100; ++i) names.insert(AtomicFile(folder / "x").temporary());
  EXPECT_EQ(names.size(), 100u);
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(AtomicFile, WritesTheTargetOfALinkAndKeepsTheLink) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "sub");
  write_file(folder / "sub/target", "old");
  fs::create_symlink("sub/target", folder / "link");
  fs::create_symlink(folder / "link", folder / "second");
  write_file(folder / "second", "new");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_TRUE(fs::is_symlink(folder / "second"));
  EXPECT_EQ(read_file(folder / "sub/target"), "new");
  fs::create_symlink("sub/made", folder / "dangling");
  write_file(folder / "dangling", "made");
  EXPECT_EQ(read_file(folder / "sub/made"), "made");
  EXPECT_TRUE(fs::is_symlink(folder / "dangling"));
}

TEST(AtomicFile, RefusesLoopsOfLinksAndFolders) {
  const TemporaryFolder folder;
  fs::create_symlink("b", folder / "a");
  fs::create_symlink("a", folder / "b");
  EXPECT_NE(message_of([&] { write_file(folder / "a", "x"); }).find("leads back to itself"), std::string::npos);
  fs::create_directory(folder / "d");
  EXPECT_NE(message_of([&] { write_file(folder / "d", "x"); }).find("is a folder"), std::string::npos);
  EXPECT_TRUE(fs::is_empty(folder / "d"));
}

TEST(AtomicFile, ADeviceIsWrittenIntoAndStaysADevice) {
  const TemporaryFolder folder;
  // As root a rename would replace the device.
  const fs::path null = folder / "null";
  if (mknod(null.c_str(), S_IFCHR | 0666, makedev(1, 3)) != 0) GTEST_SKIP() << "only root may make a device";
  const int probe = open(null.c_str(), O_WRONLY);
  if (probe < 0) GTEST_SKIP() << "this file system takes no devices";
  close(probe);
  write_file(null, "gone");
  struct stat info {};
  ASSERT_EQ(stat(null.c_str(), &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
  EXPECT_EQ(names_in(folder.path()), std::set<std::string>{"null"});
  EXPECT_NE(message_of([] { write_file("/dev/full", "x"); }).find("No space left on device"), std::string::npos);
  ASSERT_EQ(stat("/dev/full", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
}

TEST(AtomicFile, APipeIsWrittenIntoAndStaysAPipe) {
  const TemporaryFolder folder;
  const fs::path pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::string got;
  std::thread reader([&] {
    const int fd = open(pipe.c_str(), O_RDONLY);
    char buffer[64];
    for (ssize_t n = 0; (n = read(fd, buffer, sizeof buffer)) > 0;) got.append(buffer, static_cast<std::size_t>(n));
    close(fd);
  });
  write_file(pipe, "through");
  reader.join();
  EXPECT_EQ(got, "through");
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST(AtomicFile, KeepsThePermissionsOfTheFileThatItReplaces) {
  const TemporaryFolder folder;
  write_file(folder / "x", "old");
  ASSERT_EQ(chmod((folder / "x").c_str(), 0640), 0);
  write_file(folder / "x", "new");
  struct stat info {};
  ASSERT_EQ(stat((folder / "x").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
}

TEST(AtomicFile, TakesNamesThatFitOnlyWithoutTheSuffix) {
  const TemporaryFolder folder;
  const std::string name(250, 'n');
  write_file(folder / name, "x");
  EXPECT_EQ(names_in(folder.path()), std::set<std::string>{name});
}

TEST(AtomicFile, AFileAtTheLimitOfTheShellIsAFailedWrite) {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    catch_interrupts();
    const rlimit limit{1 << 16, 1 << 16};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string said = message_of([&] { write_file(folder / "x", std::string(1 << 20, 'x')); });
    _exit(said.find("File too large") != std::string::npos ? 7 : 8);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(AtomicFile, APipeTakesAFileWhoseBeginningIsKnownLast) {
  const TemporaryFolder folder;
  const fs::path pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const std::string bytes(300000, 'x');
  std::string got;
  std::thread reader([&] {
    std::ifstream in(pipe, std::ios::binary);
    got.assign(std::istreambuf_iterator<char>(in), {});
  });
  AtomicFile file(pipe);
  file.write("????");
  file.write(bytes);
  file.write_at(0, std::as_bytes(std::span("HEAD", 4)));
  file.commit();
  reader.join();
  EXPECT_TRUE(got == "HEAD" + bytes) << got.size();
}

TEST(AtomicFile, APipeThatNobodyReadsLetsCtrlCThrough) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  const pid_t child = fork();
  if (child == 0) {
    catch_interrupts();
    raise(SIGINT);
    try {
      write_file(folder / "pipe", "x");
    } catch (const Interrupted&) {
      _exit(7);
    }
    _exit(8);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 7);
}

TEST(AtomicFile, AnOpenFileOfOursIsWrittenWhereItStands) {
  const TemporaryFolder folder;
  const int fd = open((folder / "out").c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(write(fd, "before ", 7), 7);
  write_file("/dev/fd/" + std::to_string(fd), "page ");
  ASSERT_EQ(write(fd, "after", 5), 5);
  close(fd);
  EXPECT_EQ(read_file(folder / "out"), "before page after");
}

TEST(Temporaries, OnlyOurOwnNamesAreRemoved) {
  const TemporaryFolder folder;
  for (const char* name :
       {"run.json.tmp-0123456789abcdef", "run.json.tmp-12-0", "notes.tmp-mine", "a.tmp-", "tmp-1", "x"})
    write_file(folder / name, "x");
  remove_temporaries(folder.path());
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"notes.tmp-mine", "a.tmp-", "tmp-1", "x"}));
}

TEST(FileLock, OneHolderAtATimeAndFreeAgainWhenItsProcessDies) {
  const TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const FileLock lock(folder / "lock");
    [[maybe_unused]] const ssize_t put = write(ready[1], lock.held() ? "y" : "n", 1);
    for (;;) pause();
  }
  char answer = 0;
  ASSERT_EQ(read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  {
    const FileLock second(folder / "lock");
    EXPECT_FALSE(second.held());
    EXPECT_EQ(second.holder(), std::to_string(child));
    EXPECT_TRUE(is_locked(folder / "lock"));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_FALSE(is_locked(folder / "lock"));
  EXPECT_TRUE(FileLock(folder / "lock").held());
  EXPECT_FALSE(is_locked(folder / "none"));
  EXPECT_FALSE(fs::exists(folder / "none"));
  close(ready[0]);
  close(ready[1]);
}

TEST(FileLock, RefusesAPipeOrALinkInItsPlace) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(FileLock(folder / "pipe"), Error);
  fs::create_symlink("elsewhere", folder / "link");
  EXPECT_THROW(FileLock(folder / "link"), Error);
  EXPECT_FALSE(fs::exists(folder / "elsewhere"));
}

/// What a child that reads a map writes to standard error, and how it ends, when the file is cut short under it.
std::pair<std::string, int> cut_short(bool ours) {
  const TemporaryFolder folder;
  write_file(folder / "big", std::string(1 << 20, 'x'));
  int err[2];
  EXPECT_EQ(pipe(err), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(err[1], 2);
    close(err[0]);
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGBUS, SIG_DFL);
    catch_lost_maps();
    const FileMap map(folder / "big");
    if (truncate((folder / "big").c_str(), 4096) != 0) _exit(9);
    if (!ours) raise(SIGBUS);
    volatile unsigned sum = 0;
    for (const std::byte b : map.bytes()) sum = sum + static_cast<unsigned>(b);
    _exit(0);
  }
  close(err[1]);
  std::string text;
  char buffer[512];
  for (ssize_t n = 0; (n = read(err[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  close(err[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return {text, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
}

TEST(FileMap, AFileThatIsCutShortWhileItIsReadEndsWithOneLineAndCode1) {
  const auto [text, code] = cut_short(true);
  EXPECT_EQ(code, 1);
  EXPECT_NE(text.find("/big was cut short"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST(FileMap, OtherBusErrorsKeepTheirMeaning) {
  const auto [text, code] = cut_short(false);
  EXPECT_EQ(code, 128 + SIGBUS) << text;
}

TEST(Interrupts, TheSecondSignalWaitsAndTheThirdEndsAtOnce) {
  int err[2];
  ASSERT_EQ(pipe(err), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(err[1], 2);
    catch_interrupts();
    raise(SIGHUP);
    if (!interrupted()) _exit(1);
    raise(SIGTERM);
    raise(SIGINT);
    _exit(2);
  }
  close(err[1]);
  std::string text(512, '\0');
  const ssize_t n = read(err[0], text.data(), text.size());
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  close(err[0]);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_NE(text.find("once more to stop at once"), std::string::npos) << text;
}

}  // namespace
}  // namespace lowbit
