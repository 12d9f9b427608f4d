#include "worker/data/batcher.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <span>
#include <utility>

#include "worker/random.h"

namespace downpour::worker {
namespace {

// Of batches' and of samples' draws among a partition's random numbers; those before are the epochs'.
constexpr std::uint64_t kBatchDraws = std::uint64_t{1} << 63;
constexpr std::uint64_t kSampleDraws = std::uint64_t{1} << 62;

// One is read, one waits, and each thread fills one.
std::size_t Slots(int threads) { return 2 + static_cast<std::size_t>(threads); }

}  // namespace

Batcher::Batcher(const SampleStore& store, const Transform& transform, const BatcherOptions& options)
    : store_(store),
      transform_(transform),
      options_(options),
      end_position_(store.size() * options.epochs),
      position_(options.start_position),
      order_(store.size()),
      slots_(Slots(options.threads)),
      scratches_(options.threads) {
  assert(options.batch_size >= 1 && options.threads >= 1);
  assert(transform.sample_size() == store.sample_size());
  const std::size_t rows = std::min<std::size_t>(options.batch_size, store.size());
  for (Slot& slot : slots_) {
    slot.rows.reserve(rows);
    if (store.spooled_bytes() > 0) slot.later_rows.reserve(rows);
    slot.features.resize(rows * transform.size());
    if (!store.labels().empty()) slot.labels.resize(rows);
    if (!store.numbers().empty()) slot.numbers.resize(rows);
    if (!store.weights().empty()) slot.weights.resize(rows);
  }
  for (auto& scratch : scratches_) {
    scratch.resize(store.row_bytes());
    threads_.emplace_back([this, &scratch] { Run(&scratch); });
  }
}

Batcher::~Batcher() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Batcher::Next(Batch* batch) {
  std::unique_lock lock(mutex_);
  if (returned_ < taken_) slots_[returned_ % slots_.size()].filled = false;
  returned_ = taken_;
  changed_.notify_all();
  const Slot& slot = slots_[taken_ % slots_.size()];
  changed_.wait(lock, [&] { return slot.filled || taken_ >= end_; });
  if (taken_ >= end_) return false;
  *batch = slot.batch;
  ++taken_;
  return true;
}

absl::Status Batcher::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

std::uint64_t Batcher::BufferBytes(std::size_t net_values, int batch_size, int threads) {
  const std::uint64_t row = net_values * sizeof(float) + 2 * sizeof(float) + 2 * sizeof(std::uint32_t);
  return Slots(threads) * static_cast<std::uint64_t>(batch_size) * row;
}

void Batcher::Run(std::vector<std::byte>* scratch) {
  while (Slot* const slot = Claim()) {
    absl::Status status = Fill(*slot, *scratch);
    {
      std::lock_guard lock(mutex_);
      if (status.ok()) {
        slot->filled = true;
      } else if (slot->number < end_) {
        end_ = slot->number;
        status_ = std::move(status);
      }
    }
    changed_.notify_all();
  }
}

Batcher::Slot* Batcher::Claim() {
  std::lock_guard claiming(claim_mutex_);
  {
    std::unique_lock lock(mutex_);
    if (position_ >= end_position_ && claimed_ < end_) {
      end_ = claimed_;
      changed_.notify_all();
    }
    changed_.wait(lock, [this] { return stop_ || claimed_ >= end_ || claimed_ - returned_ < slots_.size(); });
    if (stop_ || claimed_ >= end_) return nullptr;
  }
  const std::uint64_t samples = store_.size();
  const std::uint64_t epoch = position_ / samples;
  if (ordered_ != epoch) Order(epoch);
  const auto rows_from = [&](std::uint64_t from) {
    const std::uint64_t to = std::min<std::uint64_t>(from + options_.batch_size, samples);
    return std::span(order_).subspan(std::min(from, samples), to - std::min(from, to));
  };
  Slot& slot = slots_[claimed_ % slots_.size()];
  slot.number = claimed_;
  slot.position = position_;
  const std::uint64_t first = position_ % samples;
  const auto rows = rows_from(first);
  slot.rows.assign(rows.begin(), rows.end());
  if (store_.spooled_bytes() > 0) {
    const auto later = rows_from(first + static_cast<std::uint64_t>(options_.threads) * options_.batch_size);
    slot.later_rows.assign(later.begin(), later.end());
  }
  position_ += rows.size();
  ++claimed_;
  return &slot;
}

void Batcher::Order(std::uint64_t epoch) {
  ordered_ = epoch;
  std::iota(order_.begin(), order_.end(), 0u);
  if (!options_.shuffle) return;
  // Fisher and Yates.
  Random random(options_.seed, options_.partition, epoch);
  for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random.Below(i)]);
}

absl::Status Batcher::Fill(Slot& slot, std::span<std::byte> scratch) const {
  for (const std::uint32_t row : slot.later_rows) store_.features().Prefetch(row);
  const std::size_t size = slot.rows.size();
  const std::size_t values = transform_.size();
  Transform::View view = transform_.Middle();
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t row = slot.rows[i];
    const auto from = store_.features().Read(row, scratch);
    if (!from.ok()) return from.status();
    if (options_.augment) {
      view = transform_.Draw(Random(options_.seed, options_.partition, kSampleDraws + slot.position + i));
    }
    const std::span<float> to(slot.features.data() + i * values, values);
    if (store_.type() == FeatureType::kU8) {
      transform_.Apply({reinterpret_cast<const std::uint8_t*>(*from), store_.sample_size()}, view, to);
    } else {
      transform_.Apply({reinterpret_cast<const float*>(*from), store_.sample_size()}, view, to);
    }
    if (!slot.labels.empty()) slot.labels[i] = store_.labels()[row];
    if (!slot.numbers.empty()) slot.numbers[i] = store_.numbers()[row];
    if (!slot.weights.empty()) slot.weights[i] = store_.weights()[row];
  }
  const std::uint64_t position_after = slot.position + size;
  const kernels::Targets whole{.classes = slot.labels, .numbers = slot.numbers, .weights = slot.weights};
  slot.batch = {.size = static_cast<int>(size),
                .features = {slot.features.data(), size * values},
                .targets = whole.Sub(0, size),
                .position_after = position_after,
                .epoch = static_cast<double>(position_after) / static_cast<double>(store_.size()),
                .draw = Random(options_.seed, options_.partition, kBatchDraws + position_after).Next()};
  return absl::OkStatus();
}

}  // namespace downpour::worker
