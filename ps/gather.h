// Collects the answers of all shards to one question.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"

namespace downpour::ps {

template <typename Answer>
class Gather {
 public:
  // Any thread. The number to put into the question.
  uint64_t Ask(size_t expected) {
    std::lock_guard lock(mutex_);
    pending_[++last_ticket_].expected = expected;
    return last_ticket_;
  }

  // Any thread. An answer to a question that nobody waits for any more is dropped.
  void Put(uint64_t ticket, Answer answer) {
    std::lock_guard lock(mutex_);
    const auto found = pending_.find(ticket);
    if (found == pending_.end()) return;
    found->second.answers.push_back(std::move(answer));
    if (found->second.answers.size() >= found->second.expected) complete_.notify_all();
  }

  // Any thread, once for each question. None when the time is over first.
  std::optional<std::vector<Answer>> Wait(uint64_t ticket, std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    Pending& pending = pending_[ticket];
    const bool complete = complete_.wait_until(lock, std::chrono::steady_clock::now() + timeout,
                                               [&] { return pending.answers.size() >= pending.expected; });
    std::optional<std::vector<Answer>> answers;
    if (complete) answers = std::move(pending.answers);
    pending_.erase(ticket);
    return answers;
  }

 private:
  struct Pending {
    size_t expected = 0;
    std::vector<Answer> answers;
  };

  std::mutex mutex_;
  std::condition_variable complete_;
  uint64_t last_ticket_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Pending> pending_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace downpour::ps
