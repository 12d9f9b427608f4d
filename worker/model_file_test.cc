#include "worker/model_file.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

namespace downpour::worker {
namespace {

const std::vector<Parameter> kParameters = {
    {.name = "a.weight", .shape = {2, 3}, .offset = 0, .size = 6},
    {.name = "a.bias", .shape = {2}, .offset = 16, .size = 2},
};

TEST_CASE("tensors lie where the header says, without padding") {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/model.safetensors";
  std::vector<float> values(32, -1);
  for (int i = 0; i < 6; ++i) values[i] = static_cast<float>(i);
  values[16] = 10;
  values[17] = 11;
  REQUIRE(WriteModel(path, kParameters, values).ok());
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  const std::string bytes = text.str();
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const auto header = nlohmann::json::parse(bytes.substr(8, length));
  CHECK(header["a.weight"]["dtype"] == "F32");
  CHECK(header["a.weight"]["shape"] == nlohmann::json{2, 3});
  CHECK(header["a.bias"]["data_offsets"] == nlohmann::json{24, 32});
  CHECK((8 + length) % 8 == 0);
  REQUIRE(bytes.size() == 8 + length + 32);
  float bias[2];
  std::memcpy(bias, bytes.data() + 8 + length + 24, 8);
  CHECK(bias[0] == 10);
  CHECK(bias[1] == 11);
}

TEST_CASE("a model that can't be written is said, and nothing is left") {
  const std::string folder = std::string(std::getenv("TEST_TMPDIR")) + "/none";
  const absl::Status status = WriteModel(folder + "/model.safetensors", kParameters, std::vector<float>(32));
  CHECK_THAT(std::string(status.message()), Catch::Contains("can't write the model to"));
  CHECK_FALSE(std::filesystem::exists(folder));
}

std::string Bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string Mistake(const std::string& path, const std::vector<Parameter>& parameters = kParameters) {
  std::vector<float> values(32);
  const absl::Status status = ReadModel(path, parameters, values);
  REQUIRE(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(status.message()), Catch::Contains(path));
  return std::string(status.message());
}

TEST_CASE("what was written is read back, and padding is zero") {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/back.safetensors";
  std::vector<float> values(32, -1);
  for (int i = 0; i < 6; ++i) values[i] = static_cast<float>(i);
  values[16] = 10;
  values[17] = 11;
  REQUIRE(WriteModel(path, kParameters, values).ok());
  std::vector<float> back(32, 5);
  REQUIRE(ReadModel(path, kParameters, back).ok());
  for (const Parameter& parameter : kParameters) {
    for (std::size_t i = parameter.offset; i < parameter.offset + parameter.size; ++i) CHECK(back[i] == values[i]);
  }
  CHECK(back[6] == 0);
  CHECK(back[31] == 0);
}

TEST_CASE("another net's model is refused with the tensor that differs") {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/other.safetensors";
  REQUIRE(WriteModel(path, kParameters, std::vector<float>(32)).ok());
  std::vector<Parameter> parameters = kParameters;
  parameters[0].shape = {3, 2};
  CHECK_THAT(Mistake(path, parameters), Catch::Contains("tensor a.weight has the shape [2,3], where the net has [3,2]"));
  parameters[0].name = "b.weight";
  CHECK_THAT(Mistake(path, parameters), Catch::Contains("tensor b.weight is not there"));
  parameters = {kParameters[0]};
  CHECK_THAT(Mistake(path, parameters), Catch::Contains("a.bias, which the net has not"));
  std::vector<float> values(32);
  CHECK(ReadModel(path + "x", kParameters, values).code() == absl::StatusCode::kNotFound);
  CHECK(ReadModel("/dev/zero", kParameters, values).code() == absl::StatusCode::kNotFound);
}

TEST_CASE("tensors in common are taken, and the others stay") {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/common.safetensors";
  std::vector<float> values(32, 7);
  REQUIRE(WriteModel(path, kParameters, values).ok());
  const std::vector<Parameter> net = {
      {.name = "new.weight", .shape = {4}, .offset = 0, .size = 4},
      {.name = "a.bias", .shape = {2}, .offset = 16, .size = 2},
  };
  std::vector<float> begun(32, 1);
  const auto left = ReadTensorsInCommon(path, net, begun);
  REQUIRE(left.ok());
  CHECK(*left == std::vector<std::string>{"new.weight"});
  std::vector<float> expected(32, 1);
  expected[16] = expected[17] = 7;
  CHECK(begun == expected);

  const auto mistake = [&](const Parameter& parameter) {
    const auto read = ReadTensorsInCommon(path, {parameter}, begun);
    REQUIRE(read.status().code() == absl::StatusCode::kInvalidArgument);
    return std::string(read.status().message());
  };
  CHECK_THAT(mistake({.name = "a.bias", .shape = {3}, .size = 3}),
             Catch::Contains("tensor a.bias has the shape [2], where the net has [3]"));
  CHECK_THAT(mistake(net[0]),
             Catch::Contains("no tensor of the net's, whose first is new.weight; its own first is a.bias"));
  CHECK(ReadTensorsInCommon(path + "x", net, begun).status().code() == absl::StatusCode::kNotFound);
}

TEST_CASE("a damaged model ends in a sentence, whatever it claims") {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/good.safetensors";
  const std::string bad = path + ".bad";
  REQUIRE(WriteModel(path, kParameters, std::vector<float>(32, 1)).ok());
  const std::string good = Bytes(path);
  const auto with = [&](const std::string& bytes) {
    std::ofstream(bad, std::ios::binary | std::ios::trunc) << bytes;
    return bad;
  };
  for (std::size_t length = 0; length < good.size(); ++length) {
    CAPTURE(length);
    Mistake(with(good.substr(0, length)));
  }
  for (const uint64_t length : {uint64_t{1} << 40, ~uint64_t{0}, uint64_t{good.size() - 7}}) {
    std::string bytes = good;
    std::memcpy(bytes.data(), &length, 8);
    Mistake(with(bytes));
  }
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string bytes = good;
    const std::size_t at = bytes.find(from);
    REQUIRE(at != std::string::npos);
    REQUIRE(from.size() == to.size());
    return bytes.replace(at, from.size(), to);
  };
  CHECK_THAT(Mistake(with(replaced("[24,32]", "[32,40]"))), Catch::Contains("lies where the file has no such bytes"));
  CHECK_THAT(Mistake(with(replaced("[24,32]", "[-8,32]"))), Catch::Contains("no JSON of tensors"));
  CHECK_THAT(Mistake(with(replaced("[24,32]", "[\"4\",2]"))), Catch::Contains("no JSON of tensors"));
  CHECK_THAT(Mistake(with(replaced("F32", "F64"))), Catch::Contains("F32"));
  CHECK_THAT(Mistake(with(replaced("{\"__", "[\"__"))), Catch::Contains("no JSON of tensors"));
}

std::string WithHeader(const std::string& json) {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/header.safetensors";
  std::string bytes(8, '\0');
  const uint64_t length = json.size();
  std::memcpy(bytes.data(), &length, 8);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes << json << std::string(32, '\0');
  return path;
}

TEST_CASE("a header of other things than tensors takes neither the stack nor memory") {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  constexpr std::size_t kDeep = 3000000;
  for (const std::string& odd : {nested(kDeep), std::string("[1,[2]]"), std::string("{\"shape\":[]}")}) {
    Mistake(WithHeader("{\"a.weight\":{\"dtype\":" + odd + "}}"));
    Mistake(WithHeader("{\"a.weight\":{\"dtype\":\"F32\",\"shape\":" + odd + "}}"));
    Mistake(WithHeader("{\"a.weight\":" + odd + "}"));
  }
  Mistake(WithHeader("{\"a.weight\":{\"shape\":[" + std::string(100, '1') + "]}}"));
}

TEST_CASE("values that are not finite are refused with their tensor") {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/nan.safetensors";
  std::vector<float> values(32, 1);
  values[17] = std::nanf("");
  REQUIRE(WriteModel(path, kParameters, values).ok());
  CHECK_THAT(Mistake(path), Catch::Contains("tensor a.bias is not finite at 1"));
}

}  // namespace
}  // namespace downpour::worker
