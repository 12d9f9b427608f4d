#include "tools/ps_ctl/net_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "worker/gradient_plan.h"

namespace downpour::ctl {
namespace {

using nlohmann::ordered_json;

// 1234567 -> "1,234,567".
std::string Grouped(std::uint64_t number) {
  std::string digits = absl::StrCat(number);
  for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

std::string Bytes(std::uint64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double amount = static_cast<double>(bytes) / 1024;
  const char* unit = "KiB";
  for (const char* const larger : {"MiB", "GiB", "TiB"}) {
    if (amount < 1024) break;
    amount /= 1024;
    unit = larger;
  }
  return absl::StrFormat("%.1f %s", amount, unit);
}

ordered_json Sides(const kernels::Shape& shape) { return {shape.channels, shape.height, shape.width}; }

// Columns as wide as their widest cell, numbers to the right.
std::string Aligned(const std::vector<std::vector<std::string>>& lines, std::size_t words) {
  std::vector<std::size_t> widths(lines.front().size());
  for (const auto& cells : lines) {
    for (std::size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], cells[i].size());
  }
  std::string text;
  for (const auto& cells : lines) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string space(widths[i] - cells[i].size(), ' ');
      absl::StrAppend(&line, i > 0 ? "  " : "", i < words ? cells[i] + space : space + cells[i]);
    }
    absl::StrAppend(&text, line.substr(0, line.find_last_not_of(' ') + 1), "\n");
  }
  return text;
}

}  // namespace

NetTable::NetTable(const worker::NetOutline& net, std::uint32_t batch) : batch_(batch) {
  const std::uint64_t value_bytes = sizeof(float) * std::uint64_t{batch};
  value_bytes_ = net.sample.size() * value_bytes;
  for (const worker::LayerOutline& layer : net.layers) {
    Row row{.name = layer.name, .type = layer.type, .input_shapes = layer.input_shapes, .loss = layer.loss};
    for (const int input : layer.inputs) {
      row.inputs.push_back(input == worker::kSamples ? std::string(worker::kSamplesName) : net.layers[input].name);
    }
    row.output = layer.output;
    for (std::size_t i = 0; i < layer.parameters; ++i) {
      const worker::Parameter& tensor = net.parameters[layer.first_parameter + i];
      row.parameters += tensor.size;
      row.tensors.push_back({{"name", tensor.name}, {"shape", tensor.shape}});
    }
    row.macs = layer.multiply_accumulates;
    row.bytes = layer.loss ? 0 : layer.output.size() * value_bytes;
    parameters_ += row.parameters;
    macs_ += row.macs;
    value_bytes_ += row.bytes;
    rows_.push_back(std::move(row));
  }
  for (const std::size_t values : worker::PlanGradients(PlannedStages(net)).buffers) {
    gradient_bytes_ += values * value_bytes;
  }
}

std::string NetTable::Text() const {
  std::vector<std::vector<std::string>> lines = {{"layer", "type", "input", "output", "parameters", "MACs", "memory"}};
  for (const Row& row : rows_) {
    const std::string inputs = absl::StrJoin(row.input_shapes, " + ", [](std::string* out, const kernels::Shape& shape) {
      out->append(kernels::ToString(shape));
    });
    const auto shown = [](std::uint64_t number) { return number > 0 ? Grouped(number) : std::string("-"); };
    lines.push_back({row.name, row.type, inputs, row.loss ? "-" : kernels::ToString(row.output), shown(row.parameters),
                     shown(row.macs), row.loss ? "-" : Bytes(row.bytes)});
  }
  lines.push_back({"total", "", "", "", Grouped(parameters_), Grouped(macs_), Bytes(value_bytes_)});
  return absl::StrCat(Aligned(lines, 4), "\nMACs: multiplications, for one sample.\nMemory: for a batch of ", batch_,
                      ", the samples' own in the total. Training takes ", Bytes(gradient_bytes_),
                      " more for gradients\nof values, and ", Bytes(2 * sizeof(float) * parameters_),
                      " for parameters and their gradients.\n");
}

ordered_json NetTable::Json() const {
  ordered_json layers = ordered_json::array();
  for (const Row& row : rows_) {
    ordered_json shapes = ordered_json::array();
    for (const kernels::Shape& shape : row.input_shapes) shapes.push_back(Sides(shape));
    layers.push_back({{"name", row.name},
                      {"type", row.type},
                      {"inputs", row.inputs},
                      {"input_shapes", shapes},
                      {"output_shape", row.loss ? ordered_json() : Sides(row.output)},
                      {"parameters", row.parameters},
                      {"tensors", row.tensors},
                      {"macs", row.macs},
                      {"value_bytes", row.bytes}});
  }
  return {{"batch", batch_},
          {"layers", layers},
          {"total",
           {{"parameters", parameters_},
            {"macs", macs_},
            {"value_bytes", value_bytes_},
            {"gradient_bytes", gradient_bytes_}}}};
}

}  // namespace downpour::ctl
