// Virtual time and what happens in it, one thing after the other: in order of time, and where times are equal in the
// order in which it was asked for. So the same program has the same history each time.
//
// One thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"

namespace downpour::bench {

// Nanoseconds since the beginning, or of a span.
using Ns = std::int64_t;

inline constexpr double kNsInMs = 1e6;
inline constexpr double kNsInSecond = 1e9;

class Timeline {
 public:
  using What = absl::AnyInvocable<void()>;

  Ns now() const { return now_; }

  // `time` is not before now.
  void At(Ns time, What what) {
    heap_.push_back({time, next_++, std::move(what)});
    std::push_heap(heap_.begin(), heap_.end(), Later);
  }

  // The next thing happens; false where there is none.
  bool Step() {
    if (heap_.empty()) return false;
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    Entry entry = std::move(heap_.back());
    heap_.pop_back();
    now_ = entry.time;
    entry.what();
    return true;
  }

 private:
  struct Entry {
    Ns time = 0;
    std::uint64_t number = 0;
    What what;
  };

  static bool Later(const Entry& a, const Entry& b) { return a.time != b.time ? a.time > b.time : a.number > b.number; }

  Ns now_ = 0;
  std::uint64_t next_ = 0;
  std::vector<Entry> heap_;  // the earliest first
};

}  // namespace downpour::bench
