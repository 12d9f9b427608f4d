#include "proto/transforms.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "proto/job_config.h"

namespace downpour {
namespace {

using Catch::Matchers::Contains;

absl::StatusOr<Job> JobWith(const std::string& data) {
  return ParseJob(absl::StrCat("name: j\nnet: [{name: l, type: softmax_loss}]\ndata: {", data, "}\n"), "job.yaml");
}

std::string Mistake(const std::string& data) {
  const absl::StatusOr<Job> job = JobWith(data);
  REQUIRE_FALSE(job.ok());
  return std::string(job.status().message());
}

TEST_CASE("the net takes the whole sample, or a square of it") {
  const auto shape = [](const std::string& data) { return NetShape(JobWith(data)->data()); };
  using Shape = std::vector<uint32_t>;
  CHECK(shape("shape: [3, 32, 40]") == Shape{3, 32, 40});
  CHECK(shape("shape: [3, 32, 40], transforms: {crop: 28}") == Shape{3, 28, 28});
  CHECK(shape("shape: [32, 40], transforms: {crop: 32}") == Shape{32, 32});
  CHECK(shape("shape: [7], transforms: {mean: [2]}") == Shape{7});
}

TEST_CASE("transforms that a shape can't have are refused with its sides") {
  CHECK_THAT(Mistake("shape: [784], transforms: {crop: 24}"),
             Contains("data.transforms.crop: needs samples with a height and a width; data.shape [784] is a flat row"));
  CHECK_THAT(Mistake("shape: [784], transforms: {mirror: true}"), Contains("data.transforms.mirror: needs samples"));
  CHECK_THAT(Mistake("shape: [784], transforms: {shift: 2}"), Contains("data.transforms.shift: needs samples"));
  CHECK_THAT(Mistake("shape: [1, 28, 20], transforms: {crop: 21}"),
             Contains("data.transforms.crop: 21 is more than samples of 28 x 20 have"));
  CHECK_THAT(Mistake("shape: [1, 28, 20], transforms: {shift: 20}"),
             Contains("data.transforms.shift: 20 should be less than 20"));
  CHECK_THAT(Mistake("shape: [1, 28, 20], transforms: {crop: 8, shift: 8}"), Contains("should be less than 8"));
  CHECK_THAT(Mistake("shape: [3, 8, 8], transforms: {mean: [1, 2]}"),
             Contains("data.transforms.mean: has 2 numbers; it needs one, or one for each of the 3 channels"));
  CHECK_THAT(Mistake("shape: [4], transforms: {mean: [1, 2]}"), Contains("each of the 4 values"));
  CHECK_THAT(Mistake("transforms: {threads: 0}"), Contains("data.transforms.threads: 0 is not between 1 and 64"));
  CHECK_THAT(Mistake("transforms: {flip: true}"), Contains("unknown key"));
  CHECK(JobWith("shape: [3, 8, 8], transforms: {mean: [1, 2, 3], crop: 8, mirror: true, shift: 7, threads: 2}").ok());
  CHECK(JobWith("shape: [4], transforms: {mean: [1, 2, 3, 4]}").ok());
}

TEST_CASE("a resolved job keeps its transforms") {
  const Job job =
      *JobWith("shape: [3, 8, 8], transforms: {mean: [104.1, 117, 1e-7], crop: 7, mirror: true, threads: 2}");
  const absl::StatusOr<Job> again = ParseJob(JobToYaml(job), "job.yaml");
  REQUIRE(again.ok());
  CHECK(again->data().SerializeAsString() == job.data().SerializeAsString());
}

TEST_CASE("workers must transform as the job says, with as many threads as they like") {
  const Job server = *JobWith("transforms: {shift: 2}");
  CHECK(CheckAgreement(server, *JobWith("transforms: {shift: 2, threads: 3}")).ok());
  const absl::Status status = CheckAgreement(server, *JobWith("transforms: {shift: 1}"));
  CHECK_THAT(std::string(status.message()), Contains("data.transforms.shift: 2 -> 1"));
}

}  // namespace
}  // namespace downpour
