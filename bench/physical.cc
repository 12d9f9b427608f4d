#include "bench/physical.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <random>
#include <span>

#include "absl/strings/str_cat.h"
#include "kernels/aligned_buffer.h"
#include "kernels/vector_ops.h"

namespace downpour::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kPiece = 256 << 10;  // of bytes that are read and applied at once
constexpr std::size_t kRequest = 96;
constexpr int kTries = 7;

double Seconds(Clock::time_point since) { return std::chrono::duration<double>(Clock::now() - since).count(); }

absl::Status Failed(const char* what) { return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno))); }

// The two ends of a connection.
absl::StatusOr<std::array<int, 2>> Connect(Family family) {
  std::array<int, 2> ends = {-1, -1};
  if (family == Family::kUnix) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0) return Failed("socketpair");
    return ends;
  }
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const at = reinterpret_cast<sockaddr*>(&address);
  if (listener < 0 || bind(listener, at, length) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, at, &length) != 0) {
    return Failed("a loopback listener");
  }
  ends[0] = socket(AF_INET, SOCK_STREAM, 0);
  if (ends[0] < 0 || connect(ends[0], at, length) != 0) return Failed("a loopback connection");
  ends[1] = accept(listener, nullptr, nullptr);
  close(listener);
  if (ends[1] < 0) return Failed("accept");
  const int on = 1;
  for (const int end : ends) setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return ends;
}

// Calls write or read until all is through.
template <typename Call, typename Byte>
bool All(Call call, int fd, Byte* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t n = call(fd, bytes, size);
    if (n <= 0) return false;
    bytes += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

bool WriteAll(int fd, const std::byte* bytes, std::size_t size) { return All(write, fd, bytes, size); }
bool ReadAll(int fd, std::byte* bytes, std::size_t size) { return All(read, fd, bytes, size); }

// Runs `child` in a process of its own with one end of a connection, and `parent` here with the other.
absl::Status Between(Family family, const std::function<void(int)>& child, const std::function<void(int)>& parent) {
  const auto ends = Connect(family);
  if (!ends.ok()) return ends.status();
  const pid_t pid = fork();
  if (pid < 0) return Failed("fork");
  if (pid == 0) {
    close((*ends)[0]);
    child((*ends)[1]);
    _exit(0);
  }
  close((*ends)[1]);
  parent((*ends)[0]);
  close((*ends)[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  return absl::OkStatus();
}

std::span<const std::byte> BytesOf(const kernels::AlignedBuffer& buffer) {
  return std::as_bytes(std::span(buffer.data(), buffer.size()));
}

}  // namespace

double MemcpyRate(std::size_t bytes) {
  kernels::AlignedBuffer from(bytes / sizeof(float));
  kernels::AlignedBuffer to(bytes / sizeof(float));
  std::memset(from.data(), 1, bytes);
  std::memset(to.data(), 1, bytes);
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const auto begun = Clock::now();
    std::memcpy(to.data(), from.data(), bytes);
    best = std::max(best, static_cast<double>(bytes) / Seconds(begun));
  }
  return best;
}

double AxpyRate(std::size_t bytes) {
  kernels::AlignedBuffer x(bytes / sizeof(float));
  kernels::AlignedBuffer y(bytes / sizeof(float));
  kernels::Zero({x.data(), x.size()});
  kernels::Zero({y.data(), y.size()});
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const auto begun = Clock::now();
    kernels::Axpy(0.5f, {x.data(), x.size()}, {y.data(), y.size()});
    best = std::max(best, static_cast<double>(bytes) / Seconds(begun));
  }
  return best;
}

double ScatterRate(std::size_t rows, std::size_t width) {
  constexpr std::size_t kOneIn = 10;
  kernels::AlignedBuffer x(rows * width);
  kernels::AlignedBuffer y(rows * width * kOneIn);
  kernels::Zero({x.data(), x.size()});
  kernels::Zero({y.data(), y.size()});
  std::vector<std::uint32_t> places(rows);
  std::mt19937 random(7);
  for (std::size_t i = 0; i < rows; ++i) places[i] = static_cast<std::uint32_t>(kOneIn * i + random() % kOneIn);
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const auto begun = Clock::now();
    for (std::size_t row = 0; row < rows; ++row) {
      float* const to = y.data() + places[row] * width;
      const float* const from = x.data() + row * width;
      for (std::size_t at = 0; at < width; ++at) to[at] += 0.5f * from[at];
    }
    best = std::max(best, static_cast<double>(rows) / Seconds(begun));
  }
  return best;
}

absl::StatusOr<double> SocketRate(Family family, std::size_t bytes, double seconds, bool apply) {
  const auto reader = [=](int fd) {
    kernels::AlignedBuffer parameters(bytes / sizeof(float));
    kernels::AlignedBuffer piece(kPiece / sizeof(float));
    kernels::Zero({parameters.data(), parameters.size()});
    auto* const to = reinterpret_cast<std::byte*>(piece.data());
    for (std::size_t at = 0;;) {
      const std::size_t size = std::min(kPiece, bytes - at);
      if (!ReadAll(fd, to, size)) break;
      if (apply) {
        kernels::Axpy(-0.1f, {piece.data(), size / sizeof(float)},
                      {parameters.data() + at / sizeof(float), size / sizeof(float)});
      }
      at = (at + size) % bytes;
    }
    (void)WriteAll(fd, to, 1);
  };
  double rate = 0;
  const auto writer = [&](int fd) {
    kernels::AlignedBuffer message(bytes / sizeof(float));
    kernels::Zero({message.data(), message.size()});
    const auto begun = Clock::now();
    std::size_t written = 0;
    while (Seconds(begun) < seconds && WriteAll(fd, BytesOf(message).data(), bytes)) written += bytes;
    shutdown(fd, SHUT_WR);
    std::byte last;
    if (ReadAll(fd, &last, 1)) rate = static_cast<double>(written) / Seconds(begun);
  };
  if (absl::Status status = Between(family, reader, writer); !status.ok()) return status;
  return rate;
}

absl::StatusOr<std::vector<double>> SocketRoundTrips(Family family, std::size_t bytes, int count) {
  const auto answer = [=](int fd) {
    std::vector<std::byte> request(kRequest), reply(bytes);
    while (ReadAll(fd, request.data(), request.size()) && WriteAll(fd, reply.data(), reply.size())) {
    }
  };
  std::vector<double> times;
  const auto ask = [&](int fd) {
    std::vector<std::byte> request(kRequest), reply(bytes);
    for (int i = 0; i < count; ++i) {
      const auto begun = Clock::now();
      if (!WriteAll(fd, request.data(), request.size()) || !ReadAll(fd, reply.data(), reply.size())) return;
      times.push_back(Seconds(begun));
    }
  };
  if (absl::Status status = Between(family, answer, ask); !status.ok()) return status;
  return times;
}

}  // namespace downpour::bench
