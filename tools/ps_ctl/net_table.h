// A net as a table: a row for each layer, and what all of them come to.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "worker/net_outline.h"

namespace downpour::ctl {

class NetTable {
 public:
  // Memory is of a batch of so many samples.
  NetTable(const worker::NetOutline& net, std::uint32_t batch);

  // Lines for a terminal: layer, type, shapes, parameters, MACs of a sample, bytes of its values for the batch; then totals.
  std::string Text() const;
  // {"batch", "layers": [...], "total": {...}}; shapes are [channels, height, width], memory is in bytes.
  nlohmann::ordered_json Json() const;

 private:
  struct Row {
    std::string name;
    std::string type;
    std::vector<std::string> inputs;  // names of layers, or data
    std::vector<kernels::Shape> input_shapes;
    bool loss;
    kernels::Shape output;
    std::uint64_t parameters;
    nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
    std::uint64_t macs;
    std::uint64_t bytes;
  };

  const std::uint32_t batch_;
  std::vector<Row> rows_;
  std::uint64_t parameters_ = 0;
  std::uint64_t macs_ = 0;
  std::uint64_t value_bytes_ = 0;     // the samples' too
  std::uint64_t gradient_bytes_ = 0;  // of values, on their way back
};

}  // namespace downpour::ctl
