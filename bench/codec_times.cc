// How fast codecs are, and how much they save: `bench/codecs` runs it.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "bench/cpu_time.h"
#include "bench/physical.h"
#include "kernels/aligned_buffer.h"
#include "kernels/vector_ops.h"
#include "proto/codec/block_reader.h"
#include "proto/codec/codec.h"
#include "proto/codec/part_encoder.h"

namespace downpour::bench {
namespace {

using nlohmann::ordered_json;

constexpr uint32_t kRow = 512;
constexpr double kGiga = 1e9;

// Seconds of one call: the best of several rounds, since what else the machine does only slows it down.
double Time(int rounds, const std::function<void()>& call) {
  call();
  double best = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const double begun = CpuSeconds();
    call();
    best = std::min(best, CpuSeconds() - begun);
  }
  return best;
}

// Gradients are near zero in most places: a Gaussian's cube.
std::vector<float> Gradient(uint32_t elements) {
  std::mt19937 random(1);
  std::normal_distribution<float> draw;
  std::vector<float> values(elements);
  for (float& value : values) value = 1e-3f * std::pow(draw(random), 3.0f);
  return values;
}

// What a server does with a payload: block by block into the parameters.
void Add(CodecId codec, const Payload& payload, std::span<float> to, std::span<float> scratch) {
  const auto reader = BlockReader::Open(codec, payload, static_cast<uint32_t>(to.size()));
  if (!reader.ok()) std::exit(1);
  while (!to.empty()) {
    const auto block = (*reader)->Next(kBlockElements, scratch);
    kernels::Axpy(-0.1f, block, to.first(block.size()));
    to = to.subspan(block.size());
  }
}

ordered_json TimesOf(const Codec& codec, const CodecSettings& settings, uint32_t elements, int rounds) {
  const std::vector<float> gradient = Gradient(elements);
  const auto bytes = static_cast<double>(elements * sizeof(float));
  kernels::AlignedBuffer parameters(elements);
  std::vector<float> scratch(kBlockElements);
  auto payload = std::make_shared<ByteBuffer>();
  double encode = 0;
  if (codec.id == CodecId::kRaw) {
    payload->AppendAll(std::span<const float>(gradient));
  } else {
    PartLayout layout;
    layout.elements = elements;
    layout.rows = {{0, elements / kRow * kRow, kRow}};
    PartEncoder encoder(codec, settings, layout, true, 1);
    // In the steady state, where what was left out before takes part.
    for (int i = 0; i < 10; ++i) encoder.Encode(gradient, payload.get());
    encode = Time(rounds, [&] { encoder.Encode(gradient, payload.get()); });
  }
  const Payload coded(payload, std::vector<Payload::Bytes>{payload->bytes()});
  const double apply = Time(rounds, [&] { Add(codec.id, coded, {parameters.data(), elements}, scratch); });
  return {{"codec", codec.name},
          {"ratio", bytes / static_cast<double>(coded.size())},
          {"encode", encode == 0 ? 0 : bytes / encode / kGiga},
          {"apply", bytes / apply / kGiga}};
}

int Main(int argc, char** argv) {
  CLI::App cli("Ratio and GB/s of floats of each codec");
  uint32_t elements = 1 << 20;
  int rounds = 30;
  CodecSettings settings;
  cli.add_option("--elements", elements, "Floats of a part")->check(CLI::Range(1u, 1u << 26));
  cli.add_option("--rounds", rounds, "Best of so many");
  cli.add_option("--share", settings.share, "Of top_k and random_k");
  cli.add_option("--threshold", settings.threshold, "Of threshold");
  cli.add_option("--rank", settings.rank, "Of power_sgd");
  CLI11_PARSE(cli, argc, argv);
  ordered_json seen = ordered_json::array();
  for (const Codec* codec : Codecs()) seen.push_back(TimesOf(*codec, settings, elements, rounds));
  const std::size_t bytes = std::size_t{elements} * sizeof(float);
  std::cout << ordered_json{{"memcpy", MemcpyRate(bytes) / kGiga}, {"axpy", AxpyRate(bytes) / kGiga}, {"codecs", seen}}
            << "\n";
  return 0;
}

}  // namespace
}  // namespace downpour::bench

int main(int argc, char** argv) { return downpour::bench::Main(argc, argv); }
