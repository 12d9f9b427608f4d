#include "ps/metrics_endpoint.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ps/listen_error.h"

namespace downpour::ps {
namespace {

// Connects and hangs up.
void Knock(const std::string& address) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 1 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found) != 0) return;
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd >= 0) {
    // Whether or not it succeeds: when it does, the listener has woken up.
    [[maybe_unused]] const int ignored = connect(fd, found->ai_addr, found->ai_addrlen);
    close(fd);
  }
  freeaddrinfo(found);
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(
    const std::string& address, std::shared_ptr<prometheus::Collectable> metrics,
    const std::string& setting) {
  try {
    // A connection that sends nothing holds one of the threads, for as long as the timeout allows.
    auto exposer = std::make_unique<prometheus::Exposer>(std::vector<std::string>{
        "listening_ports", address, "num_threads", "8", "request_timeout_ms", "1000"});
    exposer->RegisterCollectable(metrics);
    const int port = exposer->GetListeningPorts().at(0);
    const std::string chosen = absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
    return std::unique_ptr<MetricsEndpoint>(
        new MetricsEndpoint(std::move(exposer), std::move(metrics), chosen));
  } catch (const std::exception&) {
    return ListenError(address, setting);
  }
}

MetricsEndpoint::~MetricsEndpoint() {
  // civetweb looks every two seconds whether it is to stop, or when somebody connects.
  const auto stopped = std::async(std::launch::async, [this] { exposer_.reset(); });
  do {
    Knock(address_);
  } while (stopped.wait_for(std::chrono::milliseconds(10)) != std::future_status::ready);
}

}  // namespace downpour::ps
