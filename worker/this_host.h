// Which addresses are this host's.
#pragma once

#include <string>

namespace downpour::worker {

// Whether whoever listens at the address (proto/address.h) is on this host, as far as the address tells: a Unix socket,
// loopback, or an address of one of its interfaces. A host's name is looked up, which may take as long as that does. An
// address that is forwarded elsewhere is not found out.
bool OnThisHost(const std::string& address);

}  // namespace downpour::worker
