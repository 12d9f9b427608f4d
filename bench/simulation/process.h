// A coroutine in virtual time: code that reads from top to bottom and waits, with co_await, for a time or a signal.
//
// One thread, the timeline's.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

#include "bench/simulation/timeline.h"

namespace downpour::bench {

// Runs up to its first wait when it is called. Whoever owns it keeps it until it is done or nothing resumes it any
// more.
class Process {
 public:
  struct promise_type {
    Process get_return_object() { return Process(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    [[noreturn]] void unhandled_exception() { std::terminate(); }
  };

  Process() = default;
  Process(Process&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Process& operator=(Process&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Process() {
    if (handle_) handle_.destroy();
  }

  bool done() const { return handle_ && handle_.done(); }

 private:
  explicit Process(std::coroutine_handle<promise_type> handle) : handle_(handle) {}

  std::coroutine_handle<promise_type> handle_;
};

// co_await Sleep{timeline, ns}
struct Sleep {
  Timeline* timeline = nullptr;
  Ns ns = 0;

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) const {
    timeline->At(timeline->now() + ns, [waiter] { waiter.resume(); });
  }
  void await_resume() const noexcept {}
};

// Something may have changed: what waits here looks again. One process waits at a time.
class Signal {
 public:
  void Notify() {
    if (waiter_) std::exchange(waiter_, nullptr).resume();
  }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) noexcept { waiter_ = waiter; }
  void await_resume() const noexcept {}

 private:
  std::coroutine_handle<> waiter_;
};

}  // namespace downpour::bench
