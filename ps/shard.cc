#include "ps/shard.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ps/flow_limits.h"

namespace downpour::ps {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr auto kTick = std::chrono::milliseconds(100);
constexpr size_t kEventBytes = 256;
// A part is gone through in less time than it takes to wake a thread, where it is no larger than this and not many may have
// waited for this event.
constexpr size_t kSmallPartBytes = 64 << 10;
constexpr uint64_t kFewWait = 8;
constexpr int64_t kComplainEveryMs = 1000;

int64_t Milliseconds(SteadyClock::time_point time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

}  // namespace

Shard::Shard(uint32_t index, std::unique_ptr<ShardCore> core, size_t queue_limit_bytes, Sink* sink, Log log,
             std::unique_ptr<Observer> observer)
    : queue_limit_bytes_(queue_limit_bytes),
      sink_(sink),
      log_(log.Shard(index)),
      core_(std::move(core)),
      observer_(std::move(observer)),
      thread_([this] { Run(); }) {}

Shard::~Shard() { Stop(); }

void Shard::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

size_t Shard::Weight(const Event& event) {
  size_t bytes = kEventBytes;
  if (const auto* push = std::get_if<Push>(&event)) {
    bytes += push->message.payload.size() + push->message.contributors.size() * kContributorBytes;
  }
  if (const auto* set = std::get_if<Set>(&event)) bytes += set->message.payload.size();
  return bytes;
}

bool Shard::TryPost(Event event, size_t part_bytes) {
  const size_t weight = Weight(event);
  const size_t more = std::holds_alternative<Pull>(event) ? RoomForPulls(queue_limit_bytes_) : 0;
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || queue_bytes_ + weight > queue_limit_bytes_ + more) {
      ++overloaded_;
      return false;
    }
    queue_bytes_ += weight;
    ++posted_;
    const bool at_rest = !busy_ && !waits_ && queue_.empty();
    const bool few_wait = stats_.core.held + stats_.core.parked <= kFewWait;
    if (!at_rest || !few_wait || part_bytes > kSmallPartBytes || observer_ != nullptr) {
      queue_.push_back(std::move(event));
      if (!busy_) wake_.notify_one();
      return true;
    }
    busy_ = true;
  }
  HandlePosted(std::move(event));
  std::lock_guard lock(mutex_);
  busy_ = false;
  if (!queue_.empty() || stopping_ || waits_) wake_.notify_one();
  return true;
}

void Shard::Post(Event event) {
  {
    std::lock_guard lock(mutex_);
    queue_bytes_ += Weight(event);
    ++posted_;
    queue_.push_back(std::move(event));
  }
  wake_.notify_one();
}

void Shard::Flush() {
  std::unique_lock lock(mutex_);
  const uint64_t target = posted_;
  handled_.wait(lock, [&] { return done_ >= target; });
}

ShardStats Shard::stats() const {
  std::lock_guard lock(mutex_);
  ShardStats stats = stats_;
  stats.overloaded = overloaded_;
  stats.queue_events = posted_ - done_;
  stats.queue_bytes = queue_bytes_;
  return stats;
}

void Shard::HandleOne(Event event) {
  if (observer_ != nullptr) observer_->Before(event);
  const bool push = std::holds_alternative<Push>(event);
  const auto begin = SteadyClock::now();
  core_->Handle(std::move(event), actions_);
  if (push) {
    const double seconds = std::chrono::duration<double>(SteadyClock::now() - begin).count();
    const auto bucket = std::lower_bound(kApplyBounds.begin(), kApplyBounds.end(), seconds);
    ++counted_.apply[bucket - kApplyBounds.begin()];
    counted_.apply_seconds += seconds;
  }
  counted_.core = core_->stats();
  if (observer_ != nullptr) observer_->After(*core_);
}

void Shard::Complain(const Message& refusal) {
  ++unreported_;
  const int64_t now_ms = Milliseconds(SteadyClock::now());
  if (now_ms - last_complaint_ms_ < kComplainEveryMs) return;
  last_complaint_ms_ = now_ms;
  std::string sentence(refusal.payload.size(), '\0');
  PayloadReader(refusal.payload).Read(std::as_writable_bytes(std::span(sentence)));
  const std::string more = unreported_ > 1 ? absl::StrCat(" (", unreported_, " such since the last line)") : "";
  log_.Worker(refusal.header.worker)
      .Warn(
          absl::StrCat("refused push ", refusal.header.sequence, ", part ", refusal.header.part, ": ", sentence, more));
  unreported_ = 0;
}

void Shard::HandlePosted(Event event) {
  const size_t weight = Weight(event);
  HandleOne(std::move(event));
  // The counts are out before the answer: who has had an answer finds it counted.
  {
    std::lock_guard lock(mutex_);
    queue_bytes_ -= weight;
    stats_ = counted_;
  }
  for (Action& action : actions_) {
    if (const auto* reply = std::get_if<Reply>(&action);
        reply != nullptr && reply->message.header.reason == Refusal::kNotFinite) {
      Complain(reply->message);
    }
    sink_->Deliver(std::move(action));
  }
  actions_.clear();
  {
    std::lock_guard lock(mutex_);
    ++done_;
  }
  handled_.notify_all();
}

void Shard::Run() {
  std::vector<Event> batch;
  auto next_tick = SteadyClock::now();
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_until(lock, next_tick, [this] { return !busy_ && (stopping_ || !queue_.empty()); });
      waits_ = true;
      wake_.wait(lock, [this] { return !busy_; });
      waits_ = false;
      if (queue_.empty() && stopping_) break;
      busy_ = true;
      std::swap(batch, queue_);
    }
    if (const auto now = SteadyClock::now(); now >= next_tick) {
      HandleOne(Tick{Milliseconds(now)});
      {
        std::lock_guard lock(mutex_);
        stats_ = counted_;
      }
      for (Action& action : std::exchange(actions_, {})) sink_->Deliver(std::move(action));
      next_tick = now + kTick;
    }
    for (Event& event : batch) HandlePosted(std::move(event));
    batch.clear();
    std::lock_guard lock(mutex_);
    busy_ = false;
  }
  if (observer_ != nullptr) observer_->Ended(*core_);
}

}  // namespace downpour::ps
