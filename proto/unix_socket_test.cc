#include "proto/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/temporary_folder.h"

namespace downpour {
namespace {

// A socket that is bound to the path, and listens or does not.
class Socket {
 public:
  Socket(const std::string& path, bool listens, int type = SOCK_STREAM) : fd_(socket(AF_UNIX, type, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    REQUIRE(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    if (listens) REQUIRE(listen(fd_, 1) == 0);
  }
  ~Socket() { close(fd_); }

 private:
  const int fd_;
};

std::string WhyNot(const std::string& path) {
  const auto claim = ClaimSocketPath(path, "a.setting");
  return claim.ok() ? "" : std::string(claim.status().message());
}

TEST_CASE("a free path, and one whose socket nobody listens on, may be taken") {
  const tests::TemporaryFolder folder;
  const std::string path = folder.File("ps.sock");
  CHECK(WhyNot(path) == "");
  { const Socket killed(path, true); }
  REQUIRE(std::filesystem::exists(path));
  CHECK(WhyNot(path) == "");
}

TEST_CASE("whoever listens on a path keeps it") {
  const tests::TemporaryFolder folder;
  const std::string path = folder.File("ps.sock");
  const Socket listening(path, true);
  CHECK_THAT(WhyNot(path), Catch::Contains("process " + std::to_string(getpid()) + " listens there") &&
                               Catch::Contains("another path in a.setting"));
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("what is no socket of ours is in the way") {
  const tests::TemporaryFolder folder;
  std::ofstream(folder.File("file")) << "of somebody";
  CHECK_THAT(WhyNot(folder.File("file")), Catch::Contains("something that is no socket is there"));
  REQUIRE(symlink(folder.File("ps.sock").c_str(), folder.File("link").c_str()) == 0);
  CHECK_THAT(WhyNot(folder.File("link")), Catch::Contains("something that is no socket is there"));
  const Socket datagrams(folder.File("datagrams"), false, SOCK_DGRAM);
  CHECK_THAT(WhyNot(folder.File("datagrams")), Catch::Contains("wrong type"));
}

TEST_CASE("a folder that is not there is named") {
  const tests::TemporaryFolder folder;
  CHECK_THAT(WhyNot(folder.File("none/ps.sock")),
             Catch::Contains("the folder " + folder.File("none") + " is not there"));
  std::ofstream(folder.File("file")) << "of somebody";
  CHECK_THAT(WhyNot(folder.File("file/ps.sock")),
             Catch::Contains("the folder " + folder.File("file") + " is not there"));
}

TEST_CASE("of two that claim at once the second looks when the first listens") {
  const tests::TemporaryFolder folder;
  const std::string path = folder.File("ps.sock");
  auto first = ClaimSocketPath(path, "a.setting");
  REQUIRE(first.ok());
  std::string second;
  std::thread other([&] { second = WhyNot(path); });
  const Socket listening(path, true);
  *first = SocketClaim();
  other.join();
  CHECK_THAT(second, Catch::Contains("listens there"));
}

TEST_CASE("what killed ones left is removed, and nothing else") {
  const tests::TemporaryFolder folder;
  { const Socket dead(folder.File("dead"), false); }
  const Socket alive(folder.File("alive"), true);
  std::ofstream(folder.File("file")) << "kept";
  const SocketClaim claim = LockSocketFolder(folder.File("any"));
  RemoveDeadSockets(folder.path());
  CHECK_FALSE(std::filesystem::exists(folder.File("dead")));
  CHECK(LookAtSocketPath(folder.File("dead")).ok());
  CHECK(absl::IsAlreadyExists(LookAtSocketPath(folder.File("alive"))));
  CHECK(absl::IsUnavailable(LookAtSocketPath(folder.File("file"))));
  CHECK(std::filesystem::exists(folder.File("alive")));
  CHECK(std::filesystem::exists(folder.File("file")));
}

}  // namespace
}  // namespace downpour
