// Makes batches of a store's samples, ahead of who takes them.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "worker/batch.h"
#include "worker/data/sample_store.h"

namespace downpour::worker {

struct BatcherOptions {
  int batch_size = 1;
  std::uint32_t epochs = 1;
  bool shuffle = true;  // a new order in each epoch, drawn from seed, partition and epoch
  float scale = 1;      // factor on each feature
  std::uint64_t seed = 0;
  std::uint32_t partition = 0;
  std::uint64_t start_position = 0;  // samples already completed, counted over epochs
};

// The order of batches depends on the options alone, wherever the store keeps its rows, so a Batcher that starts at some
// batch's position_after goes on with exactly the samples that come after it. An epoch's last batch may be smaller. A
// thread of its own fills a few buffers in advance, and has what it needs of the spool file fetched a batch before; in
// the steady state nothing is allocated. The store must outlive it, unchanged.
class Batcher {
 public:
  Batcher(const SampleStore& store, const BatcherOptions& options);
  ~Batcher();

  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Waits for the next batch; false after the last, and where a row cannot be read, which status() then says. The
  // batch's memory is good until the next call, or until the Batcher is destroyed. One thread may call.
  bool Next(Batch* batch);

  // OK, or why there are no more batches. Any thread.
  absl::Status status() const;

  // What a Batcher for a store of such rows takes in memory, the order of the rows not counted.
  static std::uint64_t BufferBytes(std::size_t sample_size, int batch_size);

 private:
  struct Slot {
    std::vector<float> features;
    std::vector<std::int32_t> labels;
    std::vector<float> numbers;
    std::vector<float> weights;
    Batch batch;
  };

  void Run();
  void Order(std::uint64_t epoch);
  absl::Status Fill(Slot& slot, std::size_t first, std::size_t size);
  void Prefetch(std::size_t first, std::size_t size) const;

  // Constant after construction.
  const SampleStore& store_;
  const BatcherOptions options_;
  const std::uint64_t end_position_;

  // The data thread's own.
  std::vector<std::uint32_t> order_;
  std::vector<std::byte> row_;  // of bytes, from the spool file

  // A ring: slots [taken_, filled_) wait to be taken; a slot is filled by the data thread and read by the
  // caller, never both, as the counters say.
  std::vector<Slot> slots_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Protected by mutex_.
  std::uint64_t filled_ = 0;
  std::uint64_t taken_ = 0;
  std::uint64_t returned_ = 0;
  bool finished_ = false;
  absl::Status status_;
  bool stop_ = false;

  std::thread thread_;
};

}  // namespace downpour::worker
