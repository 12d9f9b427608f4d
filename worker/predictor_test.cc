#include "worker/predictor.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "kernels/device.h"
#include "proto/job_config.h"
#include "worker/data/frames.h"
#include "worker/model_file.h"
#include "worker/net.h"

namespace downpour::worker {
namespace {

using Catch::Contains;
using Kind = FrameReader::Kind;

// Two inputs; scores y[k] = relu(w[k] . x / 2) + ... of weights 1, 2, 3, 4 and biases 0.5, -100.
Job TwoLayers() {
  const auto job = ParseJob(
      "name: j\ndata: {shape: [2], scale: 0.5}\nnet:\n"
      "  - {name: ip, type: inner_product, outputs: 2}\n  - {name: re, type: relu}\n  - {name: loss, type: softmax_loss}\n",
      "job.yaml");
  INFO(job.status().message());
  REQUIRE(job.ok());
  return *job;
}

std::string ModelFile() {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/model.safetensors";
  std::vector<float> values(32);
  const std::vector<Parameter> parameters = {{"ip.weight", {2, 2}, 0, 4}, {"ip.bias", {2}, 16, 2}};
  for (int i = 0; i < 4; ++i) values[i] = static_cast<float>(i + 1);
  values[16] = 0.5f;
  values[17] = -100;
  REQUIRE(WriteModel(path, parameters, values).ok());
  return path;
}

struct Answer {
  absl::Status status;
  std::vector<FeedTensor> tensors;
  std::vector<std::vector<float>> values;  // by tensor
  std::vector<std::uint32_t> frames;       // rows of each
  bool ended = false;
};

template <typename Feed>
Answer Ask(PredictorOptions options, Feed feed) {
  int in[2], out[2];
  REQUIRE(pipe(in) == 0);
  REQUIRE(pipe(out) == 0);
  options.feed_fd = in[0];
  options.answer_fd = out[1];
  Answer answer;
  std::thread predictor([&] {
    answer.status = Predict(options);
    close(out[1]);
    close(in[0]);
  });
  std::thread feeder([&] {
    FrameWriter writer(in[1]);
    feed(writer);
    close(in[1]);
  });
  FrameReader reader(out[0]);
  std::uint64_t rows = 0;
  while (!answer.ended) {
    const auto frame = reader.Next();
    if (!frame.ok()) break;
    if (frame->kind == Kind::kSchema) {
      answer.tensors = *reader.ReadSchema(frame->length);
      answer.values.resize(answer.tensors.size());
    } else if (frame->kind == Kind::kBatch) {
      std::uint64_t row_bytes = 0;
      for (const FeedTensor& tensor : answer.tensors) row_bytes += tensor.row_bytes();
      answer.frames.push_back(*reader.ReadBatch(frame->length, row_bytes));
      rows += answer.frames.back();
      for (std::size_t i = 0; i < answer.tensors.size(); ++i) {
        std::vector<float> values(answer.frames.back() * answer.tensors[i].row_values);
        REQUIRE(reader.ReadBytes(values.data(), values.size() * sizeof(float)).ok());
        answer.values[i].insert(answer.values[i].end(), values.begin(), values.end());
      }
    } else {
      answer.ended = reader.ReadEnd(frame->length, rows).ok();
    }
  }
  predictor.join();
  feeder.join();
  close(in[1]);
  close(out[0]);
  return answer;
}

std::span<const std::byte> BytesOf(const std::vector<float>& values) { return std::as_bytes(std::span(values)); }

const FeedTensor kFloats{.name = "features", .type = TensorType::kF32, .sides = {2}};
const std::vector<float> kRows = {2, 4, 0, 0, 60, 0};  // three

void FeedRows(FrameWriter& writer) {
  REQUIRE(writer.WriteSchema({&kFloats, 1}).ok());
  const std::vector<std::span<const std::byte>> values = {BytesOf(kRows)};
  REQUIRE(writer.WriteBatch(3, values).ok());
  REQUIRE(writer.WriteEnd().ok());
}

TEST_CASE("each row is answered with the last layer's values, in order") {
  const Answer answer = Ask({.job = TwoLayers(), .model = ModelFile()}, FeedRows);
  INFO(answer.status.message());
  REQUIRE(answer.status.ok());
  REQUIRE(answer.tensors.size() == 1);
  CHECK(answer.tensors[0].name == "re");
  CHECK(answer.tensors[0].sides == std::vector<std::uint32_t>{2, 1, 1});
  CHECK(answer.frames == std::vector<std::uint32_t>{3});
  CHECK(answer.ended);
  // x = (1, 2): 1 + 4 + 0.5, and 3 + 8 - 100 below zero.
  CHECK(answer.values[0] == std::vector<float>{5.5f, 0, 0.5f, 0, 30.5f, 0});
}

TEST_CASE("layers are given by name, in frames of at most the batch") {
  const Answer answer = Ask({.job = TwoLayers(), .model = ModelFile(), .layers = {"re", "ip"}, .batch = 2}, FeedRows);
  REQUIRE(answer.status.ok());
  REQUIRE(answer.tensors.size() == 2);
  CHECK(answer.tensors[1].name == "ip");
  CHECK(answer.frames == std::vector<std::uint32_t>{2, 1});
  CHECK(answer.values[0] == std::vector<float>{5.5f, 0, 0.5f, 0, 30.5f, 0});
  CHECK(answer.values[1] == std::vector<float>{5.5f, -89, 0.5f, -100, 30.5f, -10});
}

TEST_CASE("bytes and doubles are taken too, and no rows are no trouble") {
  const FeedTensor bytes{.name = "features", .type = TensorType::kU8, .sides = {1, 2}};
  Answer answer = Ask({.job = TwoLayers(), .model = ModelFile()}, [&](FrameWriter& writer) {
    const std::vector<std::uint8_t> row = {2, 4};
    const std::vector<std::span<const std::byte>> values = {std::as_bytes(std::span(row))};
    REQUIRE(writer.WriteSchema({&bytes, 1}).ok());
    REQUIRE(writer.WriteBatch(1, values).ok());
    REQUIRE(writer.WriteEnd().ok());
  });
  REQUIRE(answer.status.ok());
  CHECK(answer.values[0] == std::vector<float>{5.5f, 0});
  const FeedTensor doubles{.name = "features", .type = TensorType::kF64, .sides = {2}};
  answer = Ask({.job = TwoLayers(), .model = ModelFile()}, [&](FrameWriter& writer) {
    const std::vector<double> row = {2, 4};
    const std::vector<std::span<const std::byte>> values = {std::as_bytes(std::span(row))};
    REQUIRE(writer.WriteSchema({&doubles, 1}).ok());
    REQUIRE(writer.WriteBatch(1, values).ok());
    REQUIRE(writer.WriteEnd().ok());
  });
  REQUIRE(answer.status.ok());
  CHECK(answer.values[0] == std::vector<float>{5.5f, 0});
  answer = Ask({.job = TwoLayers(), .model = ModelFile()},
               [](FrameWriter& writer) { REQUIRE(writer.WriteEnd().ok()); });
  REQUIRE(answer.status.ok());
  CHECK(answer.ended);
}

TEST_CASE("samples are transformed as in an evaluation: by mean and scale, and their middle") {
  PredictorOptions options{.job = TwoLayers(), .model = ModelFile()};
  Data& data = *options.job.mutable_data();
  data.clear_shape();
  for (const std::uint32_t side : {2, 3, 3}) data.add_shape(side);
  for (const float mean : {10, 20}) data.mutable_transforms()->add_mean(mean);
  data.mutable_transforms()->set_crop(1);
  data.mutable_transforms()->set_mirror(true);
  const FeedTensor pictures{.name = "features", .type = TensorType::kF32, .sides = {2, 3, 3}};
  const Answer answer = Ask(options, [&](FrameWriter& writer) {
    std::vector<float> rows(2 * 18, 1000);
    rows[4] = 12, rows[9 + 4] = 24;
    rows[18 + 4] = 10, rows[18 + 9 + 4] = 20;
    const std::vector<std::span<const std::byte>> values = {BytesOf(rows)};
    REQUIRE(writer.WriteSchema({&pictures, 1}).ok());
    REQUIRE(writer.WriteBatch(2, values).ok());
    REQUIRE(writer.WriteEnd().ok());
  });
  INFO(answer.status.message());
  REQUIRE(answer.status.ok());
  CHECK(answer.values[0] == std::vector<float>{5.5f, 0, 0.5f, 0});
}

TEST_CASE("what makes no sense is refused with its reason") {
  const auto mistake = [](const Answer& answer, absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    CHECK(answer.status.code() == code);
    CHECK_FALSE(answer.ended);
    return std::string(answer.status.message());
  };
  const auto nothing = [](FrameWriter&) {};
  CHECK_THAT(mistake(Ask({.job = TwoLayers(), .model = ModelFile(), .layers = {"loss"}}, nothing)),
             Contains("the net has no layer loss with values; it has ip, re"));
  CHECK_THAT(mistake(Ask({.job = TwoLayers(), .model = ModelFile(), .layers = {"ip", "ip"}}, nothing)),
             Contains("asked for twice"));
  CHECK_THAT(mistake(Ask({.job = TwoLayers(), .model = "none"}, nothing), absl::StatusCode::kNotFound),
             Contains("no model at none"));
  CHECK_THAT(mistake(Ask({.job = TwoLayers(), .model = ModelFile()}, nothing), absl::StatusCode::kAborted),
             Contains("the launcher is gone"));
  const auto fed = [&](const FeedTensor& tensor) {
    return mistake(Ask({.job = TwoLayers(), .model = ModelFile()},
                       [&](FrameWriter& writer) { (void)writer.WriteSchema({&tensor, 1}); }));
  };
  CHECK_THAT(fed({.name = "features", .type = TensorType::kF32, .sides = {3}}),
             Contains("3 values a row, but data.shape has 2"));
  CHECK_THAT(fed({.name = "features", .type = TensorType::kI64, .sides = {2}}), Contains("the data type 3"));
  CHECK_THAT(fed({.name = "label", .type = TensorType::kI64, .sides = {}}), Contains("one tensor, called features"));
  CHECK_THAT(mistake(Ask({.job = TwoLayers(), .model = ModelFile()},
                         [&](FrameWriter& writer) {
                           const std::vector<float> row = {1, NAN};
                           const std::vector<std::span<const std::byte>> values = {BytesOf(row)};
                           (void)writer.WriteSchema({&kFloats, 1});
                           (void)writer.WriteBatch(1, values);
                         })),
             Contains("feature 1 of row 0 (counted over the feed) is nan"));
}

}  // namespace
}  // namespace downpour::worker
