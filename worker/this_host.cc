#include "worker/this_host.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>

#include "proto/address.h"

namespace downpour::worker {
namespace {

bool IsLoopback(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  return address.sa_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
}

bool AreEqual(const sockaddr& a, const sockaddr& b) {
  if (a.sa_family != b.sa_family) return false;
  if (a.sa_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(a).sin_addr.s_addr ==
           reinterpret_cast<const sockaddr_in&>(b).sin_addr.s_addr;
  }
  return a.sa_family == AF_INET6 && std::memcmp(&reinterpret_cast<const sockaddr_in6&>(a).sin6_addr,
                                                &reinterpret_cast<const sockaddr_in6&>(b).sin6_addr, 16) == 0;
}

}  // namespace

bool OnThisHost(const std::string& address) {
  if (UnixPath(address)) return true;
  std::string host = address.substr(0, address.rfind(':'));
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* looked_up = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &looked_up) != 0) return false;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> found(looked_up, freeaddrinfo);
  ifaddrs* listed = nullptr;
  if (getifaddrs(&listed) != 0) listed = nullptr;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> own(listed, [](ifaddrs* all) {
    if (all != nullptr) freeifaddrs(all);
  });
  for (const addrinfo* each = found.get(); each != nullptr; each = each->ai_next) {
    if (IsLoopback(*each->ai_addr)) return true;
    for (const ifaddrs* interface = own.get(); interface != nullptr; interface = interface->ifa_next) {
      if (interface->ifa_addr != nullptr && AreEqual(*each->ai_addr, *interface->ifa_addr)) return true;
    }
  }
  return false;
}

}  // namespace downpour::worker
