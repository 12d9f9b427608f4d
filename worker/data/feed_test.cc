#include "worker/data/feed.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace downpour::worker {
namespace {

using Catch::Contains;

template <typename T>
void Add(T value, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::string Frame(std::uint16_t kind, const std::string& body) {
  std::string frame = "DPF1";
  Add(kind, frame);
  Add<std::uint16_t>(0, frame);
  Add<std::uint64_t>(body.size(), frame);
  return frame + body;
}

enum : std::uint8_t { kU8 = 1, kI32 = 2, kI64 = 3, kF32 = 4, kF64 = 5 };

std::string Tensor(const std::string& name, std::uint8_t type, const std::vector<std::uint32_t>& sides) {
  std::string bytes;
  Add<std::uint16_t>(static_cast<std::uint16_t>(name.size()), bytes);
  bytes += name;
  Add(type, bytes);
  Add(static_cast<std::uint8_t>(sides.size()), bytes);
  for (const std::uint32_t side : sides) Add(side, bytes);
  return bytes;
}

std::string Schema(const std::vector<std::string>& tensors) {
  std::string body;
  Add(static_cast<std::uint32_t>(tensors.size()), body);
  for (const std::string& tensor : tensors) body += tensor;
  return Frame(1, body);
}

std::string BatchFrame(std::uint32_t rows, const std::string& values, std::uint16_t kind = 2) {
  std::string body;
  Add(rows, body);
  Add<std::uint32_t>(0, body);
  return Frame(kind, body + values);
}

std::string End(std::uint64_t rows) {
  std::string body;
  Add(rows, body);
  return Frame(3, body);
}

template <typename T>
std::string Values(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

const FeedOptions kOptions{.sample_size = 4, .classes = 10, .limits = {.total_bytes = 1 << 20}};

// Feeds the bytes through a pipe, which is then closed.
absl::StatusOr<PartitionSamples> FeedBoth(const std::string& bytes, const FeedOptions& options = kOptions) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::thread writer([&] {
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t wrote = write(ends[1], bytes.data() + done, bytes.size() - done);
      if (wrote <= 0) break;
      done += wrote;
    }
    close(ends[1]);
  });
  auto samples = ReadFeed(ends[0], options);
  char rest[4096];
  while (read(ends[0], rest, sizeof(rest)) > 0) {
  }
  writer.join();
  close(ends[0]);
  return samples;
}

// What is trained on.
absl::StatusOr<SampleStore> Feed(const std::string& bytes, const FeedOptions& options = kOptions) {
  auto samples = FeedBoth(bytes, options);
  if (!samples.ok()) return samples.status();
  CHECK(samples->held_out.size() == 0);
  return std::move(samples->train);
}

std::string ErrorOf(const std::string& bytes, absl::StatusCode code = absl::StatusCode::kInvalidArgument,
                    const FeedOptions& options = kOptions) {
  const auto store = Feed(bytes, options);
  REQUIRE_FALSE(store.ok());
  CHECK(store.status().code() == code);
  return std::string(store.status().message());
}

std::string ByteSchema() { return Schema({Tensor("features", kU8, {4}), Tensor("label", kU8, {})}); }

TEST_CASE("bytes come as they are, in either order of the tensors") {
  const std::string features = Values<std::uint8_t>({1, 2, 3, 4, 5, 6, 7, 8});
  const std::string labels = Values<std::uint8_t>({9, 0});
  for (const bool label_first : {false, true}) {
    const std::string feature_tensor = Tensor("features", kU8, {1, 2, 2}),
                      label_tensor = Tensor("label", kU8, {});
    const auto store =
        Feed((label_first ? Schema({label_tensor, feature_tensor}) : Schema({feature_tensor, label_tensor})) +
             BatchFrame(2, label_first ? labels + features : features + labels) + BatchFrame(0, "") +
             BatchFrame(1, label_first ? "\5abcd" : "abcd\5") + End(3));
    REQUIRE(store.ok());
    CHECK(store->type() == FeatureType::kU8);
    REQUIRE(store->size() == 3);
    CHECK(std::memcmp(*store->features().Read(1, {}), "\5\6\7\10", 4) == 0);
    CHECK(std::memcmp(*store->features().Read(2, {}), "abcd", 4) == 0);
    CHECK(std::vector<std::int32_t>(store->labels().begin(), store->labels().end()) ==
          std::vector<std::int32_t>{9, 0, 5});
  }
}

TEST_CASE("each type of features and of labels") {
  const std::vector<double> values = {0.5, -1, 1e-3, 3, 4, 5, 6, 7};
  const std::vector<float> floats(values.begin(), values.end());
  for (const std::uint8_t feature_type : {kF32, kF64}) {
    for (const std::uint8_t label_type : {kU8, kI32, kI64, kF32, kF64}) {
      const std::string labels = label_type == kU8    ? Values<std::uint8_t>({3, 4})
                                 : label_type == kI32 ? Values<std::int32_t>({3, 4})
                                 : label_type == kI64 ? Values<std::int64_t>({3, 4})
                                 : label_type == kF32 ? Values<float>({3, 4})
                                                      : Values<double>({3, 4});
      const auto store =
          Feed(Schema({Tensor("features", feature_type, {4}), Tensor("label", label_type, {})}) +
               BatchFrame(2, (feature_type == kF32 ? Values(floats) : Values(values)) + labels) + End(2));
      REQUIRE(store.ok());
      CHECK(store->type() == FeatureType::kF32);
      CHECK(std::memcmp(*store->features().Read(0, {}), floats.data(), 16) == 0);
      CHECK(std::memcmp(*store->features().Read(1, {}), floats.data() + 4, 16) == 0);
      CHECK(store->labels()[0] == 3);
      CHECK(store->labels()[1] == 4);
    }
  }
}

TEST_CASE("a batch larger than a piece, a chunk and a pipe, and a socket") {
  const std::size_t rows = 1'500'000;
  std::vector<double> values(rows * 4);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i % 1000);
  std::vector<std::int64_t> labels(rows);
  for (std::size_t i = 0; i < rows; ++i) labels[i] = static_cast<std::int64_t>(i % 10);
  const std::string bytes = Schema({Tensor("features", kF64, {4}), Tensor("label", kI64, {})}) +
                            BatchFrame(rows, Values(values) + Values(labels)) + End(rows);
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  REQUIRE(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
  std::thread writer([&] {
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t wrote = write(ends[1], bytes.data() + done, bytes.size() - done);
      if (wrote <= 0) break;
      done += wrote;
    }
  });
  const auto samples = ReadFeed(ends[0], {.sample_size = 4, .classes = 10, .limits = {.total_bytes = 1 << 30}});
  writer.join();
  close(ends[0]);
  close(ends[1]);
  REQUIRE(samples.ok());
  const SampleStore* const store = &samples->train;
  REQUIRE(store->size() == rows);
  bool same = true;
  for (std::size_t row = 0; row < rows; ++row) {
    float first;
    std::memcpy(&first, *store->features().Read(row, {}), sizeof(first));
    same &= first == static_cast<float>(row * 4 % 1000) &&
            store->labels()[row] == static_cast<std::int32_t>(row % 10);
  }
  CHECK(same);
}

TEST_CASE("no rows are fine, with a schema and without") {
  CHECK(Feed(ByteSchema() + End(0))->size() == 0);
  CHECK(Feed(End(0))->size() == 0);
}

TEST_CASE("a stream that stops is the launcher's death, wherever it stops") {
  const std::string whole = ByteSchema() + BatchFrame(1, "abcd\1") + End(1);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK_THAT(ErrorOf(whole.substr(0, size), absl::StatusCode::kAborted),
               Contains("launcher is gone") && Contains("offset " + std::to_string(size)));
  }
  CHECK(Feed(whole).ok());
  CHECK(ReadFeed(-1, kOptions).status().code() == absl::StatusCode::kAborted);
}

TEST_CASE("a broken rule is named with its frame and offset") {
  const std::string schema = ByteSchema();
  const std::string at_second = "frame 1 at offset " + std::to_string(schema.size());
  CHECK_THAT(ErrorOf("GET / HTTP/1.1\r\n"), Contains("'GET '") && Contains("frame 0 at offset 0"));
  CHECK_THAT(ErrorOf(schema + Frame(9, "")), Contains("kind 9") && Contains(at_second));
  CHECK_THAT(ErrorOf(schema + schema), Contains("second schema") && Contains(at_second));
  CHECK_THAT(ErrorOf(BatchFrame(0, "")), Contains("before the schema"));
  CHECK_THAT(ErrorOf(End(1)), Contains("says that 1 rows"));
  CHECK_THAT(ErrorOf(schema + BatchFrame(1, "abcd\1") + End(2)), Contains("2 rows were sent, but 1 came"));
  CHECK_THAT(ErrorOf(schema + Frame(3, "")), Contains("end of 0 bytes"));
  CHECK_THAT(ErrorOf(schema + BatchFrame(2, "abcd\1")), Contains("2 rows of 5 bytes"));
  CHECK_THAT(ErrorOf(schema + Frame(2, "abc")), Contains("at least 8"));
  std::string reserved = schema;
  reserved[6] = 1;
  CHECK_THAT(ErrorOf(reserved), Contains("reserved"));
  std::string rows_reserved = BatchFrame(0, "");
  rows_reserved[20] = 1;
  CHECK_THAT(ErrorOf(schema + rows_reserved), Contains("reserved"));
}

TEST_CASE("schemas that cannot be") {
  const std::string features = Tensor("features", kU8, {4}), label = Tensor("label", kU8, {});
  CHECK_THAT(ErrorOf(Schema({features})), Contains("no tensor called label"));
  CHECK_THAT(ErrorOf(Schema({label})), Contains("no tensor called features"));
  CHECK_THAT(ErrorOf(Schema({features, label, Tensor("height", kF32, {})})), Contains("'height'"));
  CHECK_THAT(ErrorOf(Schema({features, label, Tensor("weight", kU8, {})})), Contains("weight the data type 1"));
  CHECK_THAT(ErrorOf(Schema({features, label, Tensor("weight", kF32, {2})})), Contains("weight the rank 1"));
  CHECK_THAT(ErrorOf(Schema({features, features})), Contains("two tensors"));
  CHECK_THAT(ErrorOf(Schema({Tensor("features", kI32, {4}), label})), Contains("data type 2"));
  CHECK_THAT(ErrorOf(Schema({features, Tensor("label", 77, {})})), Contains("data type 77"));
  CHECK_THAT(ErrorOf(Schema({features, Tensor("label", kU8, {1})})), Contains("rank 1"));
  CHECK_THAT(ErrorOf(Schema({Tensor("features", kU8, {2, 2, 1, 1, 1}), label})), Contains("rank 5"));
  CHECK_THAT(ErrorOf(Schema({Tensor("features", kU8, {5}), label})),
             Contains("5 values a row") && Contains("has 4"));
  const std::uint32_t most = 0xffffffff;
  CHECK_THAT(ErrorOf(Schema({Tensor("features", kU8, {most, most, most, most}), label})), Contains("2^64"));
  CHECK_THAT(ErrorOf(Schema(std::vector<std::string>(17, label))), Contains("17 tensors"));
  std::string body;
  Add<std::uint32_t>(2, body);
  body += features + label;
  for (std::size_t size = 4; size < body.size(); ++size) {
    CHECK_THAT(ErrorOf(Frame(1, body.substr(0, size))), Contains("ends within"));
  }
  CHECK_THAT(ErrorOf(Frame(1, body + "x")), Contains("1 bytes after"));
}

TEST_CASE("absurd lengths are refused before anything is allocated") {
  for (const std::uint16_t kind : {1, 2, 3}) {
    for (const std::uint64_t length : {std::uint64_t{1} << 33, ~std::uint64_t{0}}) {
      std::string frame = Frame(kind, "");
      std::memcpy(frame.data() + 8, &length, sizeof(length));
      ErrorOf((kind == 1 ? "" : ByteSchema()) + frame);
    }
  }
  std::string many;
  Add<std::uint32_t>(0xffffffff, many);
  Add<std::uint32_t>(0, many);
  CHECK_THAT(ErrorOf(ByteSchema() + Frame(2, many)), Contains("4294967295 rows"));
}

TEST_CASE("labels out of range and values that are not finite are named by row") {
  const std::string schema = ByteSchema();
  CHECK_THAT(
      ErrorOf(schema + BatchFrame(1, "abcd\1") + BatchFrame(2, std::string("abcdefgh\1\12", 10)) + End(3)),
      Contains("row 2") && Contains("is 10") && Contains("10 classes"));
  CHECK_THAT(ErrorOf(Schema({Tensor("features", kU8, {4}), Tensor("label", kI64, {})}) +
                     BatchFrame(1, "abcd" + Values<std::int64_t>({-1}))),
             Contains("row 0") && Contains("is -1"));
  const std::string floats = Schema({Tensor("features", kF32, {4}), Tensor("label", kU8, {})});
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    CHECK_THAT(ErrorOf(floats + BatchFrame(2, Values<float>({0, 1, 2, 3, 4, 5, bad, 7}) + "\1\1")),
               Contains("feature 2 of row 1"));
  }
  CHECK_THAT(ErrorOf(Schema({Tensor("features", kF64, {4}), Tensor("label", kU8, {})}) +
                     BatchFrame(1, Values<double>({0, 1e300, 2, 3}) + "\1")),
             Contains("feature 1 of row 0") && Contains("32-bit"));
}

TEST_CASE("labels may be numbers, and rows may have weights") {
  FeedOptions options = kOptions;
  options.classes = 0;
  const std::string schema =
      Schema({Tensor("features", kU8, {4}), Tensor("weight", kF64, {}), Tensor("label", kF64, {})});
  const auto store =
      Feed(schema + BatchFrame(2, "abcdefgh" + Values<double>({0.5, 0}) + Values<double>({-2.5, 1e6})) + End(2), options);
  REQUIRE(store.ok());
  CHECK(store->labels().empty());
  CHECK(std::vector<float>(store->numbers().begin(), store->numbers().end()) == std::vector<float>{-2.5f, 1e6f});
  CHECK(std::vector<float>(store->weights().begin(), store->weights().end()) == std::vector<float>{0.5f, 0});
  const auto wrong = [&](double weight, double label) {
    return ErrorOf(schema + BatchFrame(1, "abcd" + Values<double>({weight}) + Values<double>({label})),
                   absl::StatusCode::kInvalidArgument, options);
  };
  CHECK_THAT(wrong(-1, 0), Contains("the weight of row 0") && Contains("is -1; weights are finite, and at least 0"));
  CHECK_THAT(wrong(NAN, 0), Contains("weight") && Contains("nan"));
  CHECK_THAT(wrong(1, INFINITY), Contains("the label of row 0") && Contains("not finite"));
  CHECK_THAT(wrong(1, 1e300), Contains("not finite as a 32-bit float"));
  CHECK(Feed(schema + BatchFrame(1, "abcd" + Values<double>({1}) + Values<double>({3})) + End(1)).ok());
  CHECK_THAT(ErrorOf(schema + BatchFrame(1, "abcd" + Values<double>({1}) + Values<double>({2.5}))),
             Contains("is 2.5, not a whole number"));
  CHECK_THAT(ErrorOf(schema + BatchFrame(1, "abcd" + Values<double>({1}) + Values<double>({NAN}))), Contains("10 classes"));
}

TEST_CASE("held-out batches are kept apart, and rows are counted over both") {
  const auto samples = FeedBoth(ByteSchema() + BatchFrame(1, "abcd\1") + BatchFrame(2, "efghijkl\2\3", 4) +
                                BatchFrame(1, "mnop\4") + End(4));
  REQUIRE(samples.ok());
  CHECK(samples->train.size() == 2);
  REQUIRE(samples->held_out.size() == 2);
  CHECK(std::memcmp(*samples->held_out.features().Read(1, {}), "ijkl", 4) == 0);
  CHECK(samples->train.labels()[1] == 4);
  CHECK_THAT(ErrorOf(ByteSchema() + BatchFrame(1, "abcd\1", 4) + BatchFrame(1, "abcd\12")), Contains("row 1"));
  CHECK_THAT(ErrorOf(ByteSchema() + BatchFrame(1, "abcd\1", 4) + BatchFrame(2, "abcdefgh\1\1"),
                     absl::StatusCode::kResourceExhausted, {.sample_size = 4, .classes = 10, .limits = {.total_bytes = 14}}),
             Contains("worker.feed_limit_bytes"));
}

TEST_CASE("the limit of memory holds") {
  const FeedOptions options{.sample_size = 4, .classes = 10, .limits = {.total_bytes = 20}};
  CHECK_THAT(ErrorOf(ByteSchema() + BatchFrame(3, std::string(15, '\1')),
                     absl::StatusCode::kResourceExhausted, options),
             Contains("worker.feed_limit_bytes") && Contains("frame 1"));
}

TEST_CASE("random bytes, and random damage, never crash") {
  std::mt19937 random(1);
  const std::string whole = ByteSchema() + BatchFrame(2, "abcdefgh\1\2") + End(2);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = whole;
    for (int i = 0; i < 1 + round % 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    const auto store = Feed(bytes);
    if (store.ok()) CHECK(store->size() == 2);
  }
}

}  // namespace
}  // namespace downpour::worker
