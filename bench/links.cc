// Hosts joined by a switch, each by a link of its own: so fast, so long, so lossy. Hosts are network namespaces; what
// they send comes here through a TUN device of each, waits its time, and goes on to whom it is for. In user space, so
// that it does not depend on what a kernel has of `tc`.
//
// Packets stay as large as the kernel makes them (64 KB, by segmentation offload), so that 1 Gb/s costs little of a
// core; a packet of n segments is lost as a whole, with the probability that one of n would be.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <iostream>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <vector>

namespace downpour::bench {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr size_t kMostPacket = 70000;
constexpr size_t kFramingBytes = 66;  // of Ethernet, IP and TCP, of each segment
constexpr size_t kSegment = 1448;

// What stands before each packet of such a device (Virtio 1.0, 5.1.6); the system's header of it is not C++.
struct Offload {
  uint8_t flags = 0;
  uint8_t gso_type = 0;  // 0 for a packet that is one segment
  uint16_t header_bytes = 0;
  uint16_t gso_size = 0;
  uint16_t checksum_begin = 0;
  uint16_t checksum_offset = 0;
};
static_assert(sizeof(Offload) == 10);

struct Options {
  int hosts = 2;
  double mbps = 0;       // 0 for no bound
  double delay_ms = 0;   // one way
  double loss = 0;       // of segments
  double queue_ms = 50;  // what a link holds before it drops
};

// One direction of a host's link.
struct Link {
  Clock::time_point free;

  // When a packet that comes now has passed; none where the queue is full.
  bool Pass(Clock::time_point now, nanoseconds takes, nanoseconds queue, Clock::time_point* passed) {
    const auto begin = std::max(now, free);
    if (begin - now > queue) return false;
    *passed = free = begin + takes;
    return true;
  }
};

struct Host {
  int fd = -1;
  Link out;
  Link in;
};

struct Packet {
  Clock::time_point at;
  uint64_t number = 0;  // packets of one time go in the order in which they came
  size_t to = 0;
  std::vector<char> bytes;

  bool operator<(const Packet& other) const { return std::pair(at, number) > std::pair(other.at, other.number); }
};

class Switch {
 public:
  explicit Switch(const Options& options) : options_(options), hosts_(options.hosts) {}

  // Makes the devices dplink0, dplink1, ...; false, with errno, where one can't be made.
  bool Open() {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < hosts_.size(); ++i) {
      const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
      ifreq request{};
      request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
      const std::string name = "dplink" + std::to_string(i);
      name.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
      epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
      if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0 || ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) != 0 ||
          epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
        return false;
      }
      hosts_[i].fd = fd;
    }
    return true;
  }

  // Until standard input is at its end.
  void Run() {
    epoll_event stop{.events = EPOLLIN, .data = {.u64 = UINT64_MAX}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, STDIN_FILENO, &stop);
    std::array<epoll_event, 16> events;
    for (;;) {
      Deliver();
      timespec wait{1, 0};
      if (!waiting_.empty()) {
        const auto left = std::max<nanoseconds>(nanoseconds(0), waiting_.top().at - Clock::now()).count();
        wait = {left / 1'000'000'000, left % 1'000'000'000};
      }
      const int ready = epoll_pwait2(epoll_, events.data(), events.size(), &wait, nullptr);
      for (int i = 0; i < ready; ++i) {
        if (events[i].data.u64 == UINT64_MAX) {
          char ignored[64];
          if (read(STDIN_FILENO, ignored, sizeof(ignored)) <= 0) return;
        } else {
          Receive(events[i].data.u64);
        }
      }
    }
  }

  uint64_t packets() const { return number_; }
  uint64_t lost() const { return lost_; }
  uint64_t overflown() const { return overflown_; }

 private:
  void Receive(size_t from) {
    constexpr int kAtOnce = 32;
    for (int i = 0; i < kAtOnce; ++i) {
      const ssize_t size = read(hosts_[from].fd, buffer_.data(), buffer_.size());
      if (size <= 0) return;
      Send(from, std::vector<char>(buffer_.begin(), buffer_.begin() + size));
    }
  }

  void Send(size_t from, std::vector<char> bytes) {
    Offload offload;
    iphdr ip;
    if (bytes.size() < sizeof(offload) + sizeof(ip)) return;
    std::memcpy(&offload, bytes.data(), sizeof(offload));
    std::memcpy(&ip, bytes.data() + sizeof(offload), sizeof(ip));
    const size_t to = (ntohl(ip.daddr) & 0xff) - 1;
    if (ip.version != 4 || to >= hosts_.size()) return;
    const size_t size = bytes.size() - sizeof(offload);
    const size_t segment = offload.gso_type == 0 ? kSegment : std::max<size_t>(1, offload.gso_size);
    const size_t segments = (size + segment - 1) / segment;
    ++number_;
    if (chance_(random_) > std::pow(1 - options_.loss, static_cast<double>(segments))) {
      ++lost_;
      return;
    }
    const double bits = 8.0 * static_cast<double>(size + segments * kFramingBytes);
    const nanoseconds takes(options_.mbps == 0 ? 0 : static_cast<int64_t>(bits * 1000 / options_.mbps));
    const nanoseconds queue(static_cast<int64_t>(options_.queue_ms * 1e6));
    const nanoseconds delay(static_cast<int64_t>(options_.delay_ms * 1e6));
    Clock::time_point passed;
    // The switch has all of a packet before it sends it on.
    if (!hosts_[from].out.Pass(Clock::now(), takes, queue, &passed) ||
        !hosts_[to].in.Pass(passed, takes, queue, &passed)) {
      ++overflown_;
      return;
    }
    waiting_.push({passed + delay, number_, to, std::move(bytes)});
  }

  void Deliver() {
    while (!waiting_.empty() && waiting_.top().at <= Clock::now()) {
      const Packet& packet = waiting_.top();
      (void)!write(hosts_[packet.to].fd, packet.bytes.data(), packet.bytes.size());
      waiting_.pop();
    }
  }

  const Options options_;
  std::vector<Host> hosts_;
  int epoll_ = -1;
  std::array<char, kMostPacket> buffer_;
  std::priority_queue<Packet> waiting_;
  uint64_t number_ = 0;
  uint64_t lost_ = 0;
  uint64_t overflown_ = 0;
  std::mt19937_64 random_{1};
  std::uniform_real_distribution<double> chance_;
};

int Main(int argc, char** argv) {
  Options options;
  CLI::App cli(
      "A switch and the links of so many hosts, as devices dplink0, dplink1, ... to be moved into their namespaces, "
      "where "
      "host i has an address that ends in i + 1. Ends with its standard input, and then says what became of the "
      "packets.");
  cli.add_option("--hosts", options.hosts, "How many")->check(CLI::Range(2, 64));
  cli.add_option("--mbps", options.mbps, "Of each link, each way; 0 for no bound")->check(CLI::NonNegativeNumber);
  cli.add_option("--delay-ms", options.delay_ms, "From one host to another")->check(CLI::NonNegativeNumber);
  cli.add_option("--loss", options.loss, "Probability that a segment is lost")->check(CLI::Range(0.0, 0.5));
  cli.add_option("--queue-ms", options.queue_ms, "What a link holds before it drops")->check(CLI::PositiveNumber);
  CLI11_PARSE(cli, argc, argv);
  Switch all(options);
  if (!all.Open()) {
    std::cerr << "no TUN device: " << std::strerror(errno) << "; it takes root, or CAP_NET_ADMIN, and /dev/net/tun\n";
    return 69;
  }
  std::cout << "ready" << std::endl;
  all.Run();
  std::cout << "packets " << all.packets() << " lost " << all.lost() << " overflown " << all.overflown() << std::endl;
  return 0;
}

}  // namespace
}  // namespace downpour::bench

int main(int argc, char** argv) { return downpour::bench::Main(argc, argv); }
