#include "worker/model_file.h"

#include <catch2/catch.hpp>
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

}  // namespace
}  // namespace downpour::worker
