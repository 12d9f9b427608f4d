#include "worker/data/batcher.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <span>
#include <utility>

#include "kernels/vector_ops.h"
#include "worker/random.h"

namespace downpour::worker {
namespace {

// Of batches' draws among a partition's random numbers; those before are the epochs'.
constexpr std::uint64_t kDraws = std::uint64_t{1} << 63;

// One is read, one waits, one is filled.
constexpr std::size_t kSlots = 3;

}  // namespace

Batcher::Batcher(const SampleStore& store, const BatcherOptions& options)
    : store_(store), options_(options), end_position_(store.size() * options.epochs), slots_(kSlots) {
  assert(options.batch_size >= 1);
  const std::size_t rows = std::min<std::size_t>(options.batch_size, store.size());
  for (Slot& slot : slots_) {
    slot.features.resize(rows * store.sample_size());
    if (!store.labels().empty()) slot.labels.resize(rows);
    if (!store.numbers().empty()) slot.numbers.resize(rows);
    if (!store.weights().empty()) slot.weights.resize(rows);
  }
  order_.resize(store.size());
  if (store.type() == FeatureType::kU8) row_.resize(store.row_bytes());
  thread_ = std::thread([this] { Run(); });
}

Batcher::~Batcher() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool Batcher::Next(Batch* batch) {
  std::unique_lock lock(mutex_);
  returned_ = taken_;
  changed_.notify_all();
  changed_.wait(lock, [this] { return filled_ > taken_ || finished_; });
  if (filled_ == taken_) return false;
  *batch = slots_[taken_ % kSlots].batch;
  ++taken_;
  return true;
}

absl::Status Batcher::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

std::uint64_t Batcher::BufferBytes(std::size_t sample_size, int batch_size) {
  return kSlots * static_cast<std::uint64_t>(batch_size) * (sample_size * sizeof(float) + 2 * sizeof(float));
}

void Batcher::Run() {
  const std::uint64_t samples = store_.size();
  std::uint64_t position = options_.start_position;
  std::uint64_t filled = 0;
  bool ordered = false;
  while (position < end_position_) {
    const std::uint64_t epoch = position / samples;
    const std::uint64_t first = position % samples;
    if (first == 0 || !ordered) {
      Order(epoch);
      ordered = true;
    }
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || filled - returned_ < kSlots; });
      if (stop_) return;
    }
    Slot& slot = slots_[filled % kSlots];
    const std::size_t size = std::min<std::uint64_t>(options_.batch_size, samples - first);
    Prefetch(first + size, size);
    if (absl::Status status = Fill(slot, first, size); !status.ok()) {
      std::lock_guard lock(mutex_);
      status_ = std::move(status);
      break;
    }
    position += size;
    slot.batch.position_after = position;
    slot.batch.epoch = static_cast<double>(position) / static_cast<double>(samples);
    slot.batch.draw = Random(options_.seed, options_.partition, kDraws + position).Next();
    {
      std::lock_guard lock(mutex_);
      filled_ = ++filled;
    }
    changed_.notify_all();
  }
  {
    std::lock_guard lock(mutex_);
    finished_ = true;
  }
  changed_.notify_all();
}

void Batcher::Order(std::uint64_t epoch) {
  std::iota(order_.begin(), order_.end(), 0u);
  if (!options_.shuffle) return;
  // Fisher and Yates.
  Random random(options_.seed, options_.partition, epoch);
  for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random.Below(i)]);
}

void Batcher::Prefetch(std::size_t first, std::size_t size) const {
  if (store_.spooled_bytes() == 0) return;
  const std::size_t end = std::min(first + size, order_.size());
  for (std::size_t i = first; i < end; ++i) store_.features().Prefetch(order_[i]);
}

absl::Status Batcher::Fill(Slot& slot, std::size_t first, std::size_t size) {
  const std::size_t sample_size = store_.sample_size();
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t row = order_[first + i];
    const std::span<float> to(slot.features.data() + i * sample_size, sample_size);
    const bool bytes = store_.type() == FeatureType::kU8;
    const auto from = store_.features().Read(row, bytes ? std::span(row_) : std::as_writable_bytes(to));
    if (!from.ok()) return from.status();
    if (bytes) {
      kernels::ScaleTo({reinterpret_cast<const std::uint8_t*>(*from), sample_size}, options_.scale, to);
    } else {
      kernels::ScaleTo({reinterpret_cast<const float*>(*from), sample_size}, options_.scale, to);
    }
    if (!slot.labels.empty()) slot.labels[i] = store_.labels()[row];
    if (!slot.numbers.empty()) slot.numbers[i] = store_.numbers()[row];
    if (!slot.weights.empty()) slot.weights[i] = store_.weights()[row];
  }
  slot.batch.size = static_cast<int>(size);
  slot.batch.features = {slot.features.data(), size * sample_size};
  const kernels::Targets whole{.classes = slot.labels, .numbers = slot.numbers, .weights = slot.weights};
  slot.batch.targets = whole.Sub(0, size);
  return absl::OkStatus();
}

}  // namespace downpour::worker
