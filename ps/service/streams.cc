#include "ps/service/streams.h"

#include <utility>
#include <vector>

namespace downpour::ps {

uint64_t Streams::Add(std::shared_ptr<Stream> stream) {
  std::lock_guard lock(mutex_);
  streams_[++last_id_] = std::move(stream);
  return last_id_;
}

void Streams::Remove(uint64_t id) {
  std::shared_ptr<Stream> removed;
  std::lock_guard lock(mutex_);
  if (const auto found = streams_.find(id); found != streams_.end()) {
    removed = std::move(found->second);
    streams_.erase(found);
  }
  if (streams_.empty()) empty_.notify_all();
}

void Streams::Send(Reply reply) {
  std::shared_ptr<Stream> stream;
  {
    std::lock_guard lock(mutex_);
    const auto found = streams_.find(reply.route.stream);
    if (found == streams_.end()) return;
    stream = found->second;
  }
  stream->Send(std::move(reply));
}

void Streams::DrainAll() {
  std::vector<std::shared_ptr<Stream>> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, stream] : streams_) all.push_back(stream);
  }
  for (const auto& stream : all) stream->Drain();
}

void Streams::CheckGreetings() {
  std::vector<std::shared_ptr<Stream>> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, stream] : streams_) all.push_back(stream);
  }
  const auto now = std::chrono::steady_clock::now();
  for (const auto& stream : all) stream->CheckGreeting(now);
}

bool Streams::WaitUntilEmpty(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return empty_.wait_until(lock, std::chrono::steady_clock::now() + timeout,
                           [this] { return streams_.empty(); });
}

size_t Streams::size() const {
  std::lock_guard lock(mutex_);
  return streams_.size();
}

}  // namespace downpour::ps
