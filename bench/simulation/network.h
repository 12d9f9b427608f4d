// Links in virtual time. A link sends whole frames in the order in which they come, each at its full speed; the network
// between two links delays and never queues. So what is missing beside real TCP is that frames share a link piece by
// piece, that windows grow, and that packets get lost.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "bench/simulation/timeline.h"

namespace downpour::bench {

// One direction of a link.
class Port {
 public:
  explicit Port(double gbps) : ns_a_byte_(8 / gbps) {}

  Ns Duration(std::uint64_t bytes) const { return static_cast<Ns>(static_cast<double>(bytes) * ns_a_byte_); }
  // When a frame that is ready now begins.
  Ns Take(Ns now, std::uint64_t bytes) {
    const Ns begin = std::max(now, free_);
    const Ns duration = Duration(bytes);
    free_ = begin + duration;
    taken_ += duration;
    return begin;
  }
  // Up to now.
  Ns busy(Ns now) const { return taken_ - std::max<Ns>(0, free_ - now); }

 private:
  double ns_a_byte_;
  Ns free_ = 0;
  Ns taken_ = 0;
};

struct Link {
  explicit Link(double gbps) : out(gbps), in(gbps) {}
  Port out;
  Port in;
};

// Sends a frame from now on; `arrived` happens when its last byte is there. A link may begin with a frame before it has
// all of it, but never be done with it sooner.
inline void SendFrame(Timeline* timeline, Port* from, Port* to, Ns latency, std::uint64_t bytes,
                      Timeline::What arrived) {
  const Ns begin = from->Take(timeline->now(), bytes);
  const Ns last = begin + from->Duration(bytes);
  const Ns ready = latency + std::max(begin, last - to->Duration(bytes));
  timeline->At(ready, [timeline, to, bytes, arrived = std::move(arrived)]() mutable {
    const Ns began = to->Take(timeline->now(), bytes);
    timeline->At(began + to->Duration(bytes), std::move(arrived));
  });
}

}  // namespace downpour::bench
