// Makes batches of a store's samples, ahead of who takes them.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "worker/batch.h"
#include "worker/data/sample_store.h"
#include "worker/data/transform.h"

namespace downpour::worker {

struct BatcherOptions {
  int batch_size = 1;
  std::uint32_t epochs = 1;
  bool shuffle = true;   // a new order in each epoch, drawn from seed, partition and epoch
  bool augment = false;  // views of samples drawn from seed, partition and a sample's position; else their middles
  std::uint64_t seed = 0;
  std::uint32_t partition = 0;
  std::uint64_t start_position = 0;  // samples already completed, counted over epochs
  int threads = 1;
};

// The batches depend on store, transform and options alone, whatever the number of threads and wherever the store keeps
// its rows, so a Batcher that starts at some batch's position_after goes on with exactly the samples that come after
// it. An epoch's last batch may be smaller. Threads of its own fill a few buffers in advance, each a batch at a time,
// and have what they need of the spool file fetched before; in the steady state nothing is allocated. The store must
// outlive it, unchanged.
class Batcher {
 public:
  // `transform` takes samples of the store's size.
  Batcher(const SampleStore& store, const Transform& transform, const BatcherOptions& options);
  ~Batcher();

  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Waits for the next batch; false after the last, and where a row cannot be read, which status() then says. The
  // batch's memory is good until the next call, or until the Batcher is destroyed. One thread may call.
  bool Next(Batch* batch);

  // OK, or why there are no more batches. Any thread.
  absl::Status status() const;

  // What a Batcher takes in memory where the net takes so many values of a sample, the order of the rows not counted.
  static std::uint64_t BufferBytes(std::size_t net_values, int batch_size, int threads);

 private:
  // A batch, in turn filled by a data thread and read by the caller.
  struct Slot {
    std::uint64_t number = 0;    // of the batch, from 0
    std::uint64_t position = 0;  // of its first sample
    std::vector<std::uint32_t> rows;
    std::vector<std::uint32_t> later_rows;  // that will be read soon, of the spool file
    std::vector<float> features;
    std::vector<std::int32_t> labels;
    std::vector<float> numbers;
    std::vector<float> weights;
    Batch batch;
    bool filled = false;  // protected by mutex_
  };

  void Run(std::vector<std::byte>* scratch);
  // The slot of the next batch that nobody fills yet, once there is room for it; null where there is no more to fill.
  Slot* Claim();
  void Order(std::uint64_t epoch);
  absl::Status Fill(Slot& slot, std::span<std::byte> scratch) const;

  // Constant after construction.
  const SampleStore& store_;
  const Transform transform_;
  const BatcherOptions options_;
  const std::uint64_t end_position_;

  // Taken before mutex_.
  std::mutex claim_mutex_;
  // Protected by claim_mutex_.
  std::uint64_t claimed_ = 0;             // batches
  std::uint64_t position_;                // samples that they end with
  std::optional<std::uint64_t> ordered_;  // the epoch that order_ is of
  std::vector<std::uint32_t> order_;

  // A ring: batch n has slot n % size, from when batch n - size is returned.
  std::vector<Slot> slots_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Protected by mutex_.
  std::uint64_t taken_ = 0;
  std::uint64_t returned_ = 0;
  std::uint64_t end_ = UINT64_MAX;  // batches that there will be, once that is known
  absl::Status status_;
  bool stop_ = false;

  std::vector<std::vector<std::byte>> scratches_;  // a row from the spool file, each thread's own
  std::vector<std::thread> threads_;
};

}  // namespace downpour::worker
