#include "worker/data/batcher.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

namespace downpour::worker {
namespace {

// Row r has the features r, r + 0.5 and the label r (as bytes: r, r).
SampleStore Store(std::size_t rows, FeatureType type = FeatureType::kF32) {
  SampleStore store(type, 2, {});
  REQUIRE(store.Append(rows).ok());
  for (std::size_t row = 0; row < rows; ++row) {
    const float floats[] = {static_cast<float>(row), static_cast<float>(row) + 0.5f};
    const std::uint8_t bytes[] = {static_cast<std::uint8_t>(row), static_cast<std::uint8_t>(row)};
    const bool is_float = type == FeatureType::kF32;
    std::memcpy(store.AddFeatures(1)->bytes, is_float ? static_cast<const void*>(floats) : bytes,
                store.row_bytes());
    store.mutable_labels()[row] = static_cast<std::int32_t>(row);
  }
  return store;
}

// Scales samples of `store`.
Data DataOf(const SampleStore& store, float scale = 1) {
  Data data;
  data.add_shape(static_cast<std::uint32_t>(store.sample_size()));
  data.set_scale(scale);
  return data;
}

struct Taken {
  std::vector<std::int32_t> labels;
  std::vector<std::uint64_t> positions;
  std::vector<int> sizes;
};

Taken TakeAll(const SampleStore& store, const BatcherOptions& options, float scale = 1) {
  Taken taken;
  Batcher batcher(store, Transform(DataOf(store, scale)), options);
  Batch batch;
  while (batcher.Next(&batch)) {
    REQUIRE(batch.targets.classes.size() == static_cast<std::size_t>(batch.size));
    REQUIRE(batch.features.size() == batch.targets.classes.size() * store.sample_size());
    for (std::size_t i = 0; i < batch.targets.classes.size(); ++i) {
      REQUIRE(batch.features[2 * i] == scale * static_cast<float>(batch.targets.classes[i]));
    }
    taken.labels.insert(taken.labels.end(), batch.targets.classes.begin(), batch.targets.classes.end());
    taken.positions.push_back(batch.position_after);
    taken.sizes.push_back(batch.size);
    REQUIRE(batch.epoch ==
            Approx(static_cast<double>(batch.position_after) / static_cast<double>(store.size())));
  }
  CHECK_FALSE(batcher.Next(&batch));
  return taken;
}

TEST_CASE("numbers and weights go with their rows, and what a store lacks is not in its batches") {
  SampleStore store(FeatureType::kU8, 1, {}, {.numbers = true, .weighted = true});
  REQUIRE(store.Append(9).ok());
  for (std::size_t row = 0; row < 9; ++row) {
    *store.AddFeatures(1)->bytes = std::byte(row);
    store.mutable_numbers()[row] = static_cast<float>(row) + 0.5f;
    store.mutable_weights()[row] = static_cast<float>(row) * 2;
  }
  Batcher batcher(store, Transform(DataOf(store)), {.batch_size = 4, .seed = 3});
  int rows = 0;
  for (Batch batch; batcher.Next(&batch);) {
    CHECK(batch.targets.classes.empty());
    REQUIRE(batch.targets.numbers.size() == static_cast<std::size_t>(batch.size));
    REQUIRE(batch.targets.weights.size() == static_cast<std::size_t>(batch.size));
    for (int i = 0; i < batch.size; ++i, ++rows) {
      CHECK(batch.targets.numbers[i] == batch.features[i] + 0.5f);
      CHECK(batch.targets.weights[i] == batch.features[i] * 2);
    }
  }
  CHECK(rows == 9);
}

TEST_CASE("each epoch has every sample once, in an order of its own") {
  const SampleStore store = Store(23);
  const Taken taken =
      TakeAll(store, {.batch_size = 5, .epochs = 3, .seed = 7, .partition = 1}, 0.5f);
  REQUIRE(taken.labels.size() == 69);
  CHECK(taken.sizes == std::vector<int>{5, 5, 5, 5, 3, 5, 5, 5, 5, 3, 5, 5, 5, 5, 3});
  CHECK(taken.positions.back() == 69);
  std::vector<std::vector<std::int32_t>> epochs;
  for (int epoch = 0; epoch < 3; ++epoch) {
    epochs.emplace_back(taken.labels.begin() + 23 * epoch, taken.labels.begin() + 23 * (epoch + 1));
    std::vector<std::int32_t> sorted = epochs.back();
    std::sort(sorted.begin(), sorted.end());
    for (int i = 0; i < 23; ++i) REQUIRE(sorted[i] == i);
  }
  CHECK(epochs[0] != epochs[1]);
  CHECK(epochs[1] != epochs[2]);
}

TEST_CASE("the order depends on seed and partition") {
  const SampleStore store = Store(50);
  const BatcherOptions options{.batch_size = 8, .epochs = 2, .seed = 7, .partition = 1};
  const Taken taken = TakeAll(store, options);
  CHECK(TakeAll(store, options).labels == taken.labels);
  BatcherOptions other = options;
  other.seed = 8;
  CHECK(TakeAll(store, other).labels != taken.labels);
  other = options;
  other.partition = 2;
  CHECK(TakeAll(store, other).labels != taken.labels);
}

TEST_CASE("without shuffling the order is the store's") {
  const SampleStore store = Store(7);
  CHECK(TakeAll(store, {.batch_size = 3, .epochs = 2, .shuffle = false}).labels ==
        std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6});
}

TEST_CASE("any position is gone on from with exactly the samples after it") {
  const SampleStore store = Store(17);
  const BatcherOptions options{.batch_size = 4, .epochs = 3, .seed = 3};
  const Taken whole = TakeAll(store, options);
  for (std::uint64_t start = 0; start <= 55; ++start) {
    BatcherOptions resumed = options;
    resumed.start_position = start;
    const Taken rest = TakeAll(store, resumed);
    const std::size_t skipped = std::min<std::size_t>(start, whole.labels.size());
    REQUIRE(rest.labels == std::vector<std::int32_t>(whole.labels.begin() + skipped, whole.labels.end()));
  }
  // From a batch's end, the batches are the same too.
  BatcherOptions resumed = options;
  resumed.start_position = whole.positions[5];
  CHECK(TakeAll(store, resumed).positions ==
        std::vector<std::uint64_t>(whole.positions.begin() + 6, whole.positions.end()));
}

TEST_CASE("bytes are scaled") {
  const SampleStore store = Store(200, FeatureType::kU8);
  CHECK(TakeAll(store, {.batch_size = 64}, 0.00390625f).labels.size() == 200);
}

// A store of rows of 1 MiB, four in a chunk, whose values tell them apart.
SampleStore LargeRows(std::size_t rows, FeatureType type, std::uint64_t memory_bytes) {
  const std::size_t sample_size = (std::size_t{1} << 20) / SizeOf(type);
  SampleStore store(type, sample_size, {.memory_bytes = memory_bytes, .spool_dir = "/tmp"});
  REQUIRE(store.Append(rows).ok());
  for (std::size_t row = 0; row < rows; ++row) {
    std::byte* const bytes = store.AddFeatures(1)->bytes;
    const auto value = static_cast<float>(row + 1);
    for (std::size_t i = 0; i < sample_size; ++i) {
      if (type == FeatureType::kU8) bytes[i] = static_cast<std::byte>(row + 1);
      else std::memcpy(bytes + i * sizeof(value), &value, sizeof(value));
    }
    store.mutable_labels()[row] = static_cast<std::int32_t>(row);
  }
  return store;
}

TEST_CASE("batches are the same wherever the rows are") {
  for (const FeatureType type : {FeatureType::kU8, FeatureType::kF32}) {
    std::vector<std::vector<float>> seen;
    using Place = std::pair<std::uint64_t, int>;
    for (const auto& [memory_bytes, threads] : {Place{1 << 30, 1}, Place{9 << 20, 1}, Place{1, 1}, Place{1, 3}}) {
      const SampleStore store = LargeRows(18, type, memory_bytes);
      Batcher batcher(store, Transform(DataOf(store, 0.5f)),
                      {.batch_size = 4, .epochs = 2, .seed = 3, .start_position = 2, .threads = threads});
      std::vector<float>& values = seen.emplace_back();
      for (Batch batch; batcher.Next(&batch);) {
        for (int i = 0; i < batch.size; ++i) {
          const std::span<const float> row = batch.features.subspan(i * store.sample_size(), store.sample_size());
          REQUIRE(std::all_of(row.begin(), row.end(), [&](float value) { return value == row[0]; }));
          REQUIRE(row[0] == 0.5f * static_cast<float>(batch.targets.classes[i] + 1));
          values.push_back(row[0]);
        }
      }
      CHECK(batcher.status().ok());
      REQUIRE(values.size() == 34);
      CHECK(values == seen[0]);
    }
  }
}

// Everything of every batch, in their order.
struct Everything {
  std::vector<float> features;
  std::vector<std::int32_t> labels;
  std::vector<std::uint64_t> positions, draws;

  bool operator==(const Everything&) const = default;
};

Everything TakeEverything(const SampleStore& store, const Transform& transform, const BatcherOptions& options) {
  Everything all;
  Batcher batcher(store, transform, options);
  for (Batch batch; batcher.Next(&batch);) {
    all.features.insert(all.features.end(), batch.features.begin(), batch.features.end());
    all.labels.insert(all.labels.end(), batch.targets.classes.begin(), batch.targets.classes.end());
    all.positions.push_back(batch.position_after);
    all.draws.push_back(batch.draw);
  }
  CHECK(batcher.status().ok());
  return all;
}

// Bytes in two channels of five rows of six, all of them other ones in one sample.
SampleStore Pictures(std::size_t rows) {
  SampleStore store(FeatureType::kU8, 60, {});
  REQUIRE(store.Append(rows).ok());
  for (std::size_t row = 0; row < rows; ++row) {
    std::byte* const bytes = store.AddFeatures(1)->bytes;
    for (std::size_t i = 0; i < 60; ++i) bytes[i] = static_cast<std::byte>(60 * row + i);
    store.mutable_labels()[row] = static_cast<std::int32_t>(row);
  }
  return store;
}

Data PictureData() {
  Data data;
  for (const std::uint32_t side : {2, 5, 6}) data.add_shape(side);
  data.set_scale(0.25f);
  data.mutable_transforms()->add_mean(100);
  data.mutable_transforms()->set_crop(4);
  data.mutable_transforms()->set_mirror(true);
  data.mutable_transforms()->set_shift(1);
  return data;
}

TEST_CASE("the same batches whatever the number of threads, and from any position") {
  const SampleStore store = Pictures(53);
  const Transform transform(PictureData());
  const BatcherOptions options{.batch_size = 5, .epochs = 4, .augment = true, .seed = 9, .partition = 2};
  const Everything all = TakeEverything(store, transform, options);
  REQUIRE(all.features.size() == 4 * 53 * 32);
  for (const int threads : {2, 3, 8}) {
    BatcherOptions other = options;
    other.threads = threads;
    CHECK(TakeEverything(store, transform, other) == all);
  }
  for (const std::uint64_t start : {all.positions[3], all.positions[10], std::uint64_t{54}, std::uint64_t{101}}) {
    BatcherOptions resumed = options;
    resumed.start_position = start;
    resumed.threads = 2;
    CHECK(TakeEverything(store, transform, resumed).features ==
          std::vector<float>(all.features.begin() + static_cast<std::ptrdiff_t>(start) * 32, all.features.end()));
  }
}

TEST_CASE("views are new ones in each epoch, and depend on seed and partition") {
  const SampleStore store = Pictures(20);
  const Transform transform(PictureData());
  const BatcherOptions options{.batch_size = 20, .epochs = 2, .shuffle = false, .augment = true, .seed = 9};
  const std::vector<float> seen = TakeEverything(store, transform, options).features;
  const auto second = seen.begin() + 20 * 32;
  CHECK_FALSE(std::equal(seen.begin(), second, second));
  BatcherOptions other = options;
  other.seed = 10;
  CHECK(TakeEverything(store, transform, other).features != seen);
  other = options;
  other.partition = 1;
  CHECK(TakeEverything(store, transform, other).features != seen);
  // Nothing is left to chance where nothing is trained.
  other = options;
  other.augment = false;
  const std::vector<float> middles = TakeEverything(store, transform, other).features;
  CHECK(std::equal(middles.begin(), middles.begin() + 20 * 32, middles.begin() + 20 * 32));
  for (int row = 0; row < 20; ++row) {
    std::vector<float> expected(32);
    const auto bytes = store.features().Read(row, {});
    transform.Apply({reinterpret_cast<const std::uint8_t*>(*bytes), 60}, transform.Middle(), expected);
    CHECK(std::equal(expected.begin(), expected.end(), middles.begin() + row * 32));
  }
}

// Cuts the spool file of this process short.
void CutSpoolFile() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry, error).string();
    if (target.ends_with("(deleted)")) REQUIRE(truncate(entry.path().c_str(), 0) == 0);
  }
}

TEST_CASE("a row that can't be read ends the batches with its reason") {
  // The last two rows are in memory, the others were in the spool file.
  const SampleStore store = LargeRows(18, FeatureType::kF32, 1);
  CutSpoolFile();
  const BatcherOptions options{.batch_size = 1, .epochs = 3, .shuffle = false, .start_position = 16};
  for (const int threads : {1, 4}) {
    BatcherOptions with_threads = options;
    with_threads.threads = threads;
    Batcher batcher(store, Transform(DataOf(store)), with_threads);
    std::vector<int> taken;
    for (Batch batch; batcher.Next(&batch);) taken.push_back(batch.targets.classes[0]);
    CHECK(taken == std::vector<int>{16, 17});
    CHECK(batcher.status().code() == absl::StatusCode::kDataLoss);
    Batch batch;
    CHECK_FALSE(batcher.Next(&batch));
  }
}

TEST_CASE("no samples, no batches") {
  const SampleStore store = Store(0);
  CHECK(TakeAll(store, {.batch_size = 4, .epochs = 1000000}).labels.empty());
}

TEST_CASE("a batch larger than the store is the store") {
  const SampleStore store = Store(3);
  CHECK(TakeAll(store, {.batch_size = 1 << 20, .epochs = 2}).sizes == std::vector<int>{3, 3});
}

TEST_CASE("it can be left at any moment") {
  const SampleStore store = Store(1000);
  const auto start = std::chrono::steady_clock::now();
  for (int taken = 0; taken < 50; ++taken) {
    Batcher batcher(store, Transform(DataOf(store)),
                    {.batch_size = 1, .epochs = 1000000, .threads = 1 + taken % 4});
    Batch batch;
    for (int i = 0; i < taken; ++i) REQUIRE(batcher.Next(&batch));
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

TEST_CASE("a batch stays as it is until the next is asked for") {
  const SampleStore store = Store(100);
  const int threads = GENERATE(1, 4);
  Batcher batcher(store, Transform(DataOf(store)),
                  {.batch_size = 10, .epochs = 5, .shuffle = false, .threads = threads});
  Batch batch;
  for (int i = 0; batcher.Next(&batch); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    for (int row = 0; row < batch.size; ++row) REQUIRE(batch.targets.classes[row] == 10 * i % 100 + row);
  }
}

}  // namespace
}  // namespace downpour::worker
