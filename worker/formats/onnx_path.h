// A way through an ONNX graph, node by node, to find what several of them make together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "worker/formats/onnx_reader.h"

namespace downpour::formats {

// Begins at a node that the reader has begun. Each step is false, and says nothing, where the graph is not so; the graph's
// later nodes are looked at, not read, until Take. One thread; the reader must outlive it.
class OnnxPath {
 public:
  using Sides = std::vector<std::int64_t>;

  explicit OnnxPath(OnnxReader& reader) : reader_(reader), nodes_{&reader.node()} {}

  OnnxReader& reader() { return reader_; }
  const onnx::NodeProto& node() const { return *nodes_.back(); }
  // The names of its first input and output; empty where it has none.
  std::string input() const { return node().input_size() > 0 ? node().input(0) : ""; }
  std::string output() const { return node().output_size() > 0 ? node().output(0) : ""; }

  // On to the node that alone takes the output of the last one, or that of those given.
  bool Next(std::string_view op, int output = 0);
  bool NextOf(const std::string& value, std::string_view op);
  // The nodes that take a value; none where the graph gives it as its own.
  std::vector<const onnx::NodeProto*> TakersOf(const std::string& value) const { return reader_.TakersOf(value); }
  // On to a given one, a taker of a value on the way.
  void GoTo(const onnx::NodeProto& node) { nodes_.push_back(&node); }

  // Of the last node.
  bool Is(const char* attribute, std::int64_t value, std::int64_t otherwise) const;
  bool Is(const char* attribute, const Sides& values) const;
  // Its input: a constant of integers or of floats. None where it is none, or damaged.
  std::optional<Sides> Integers(int input) const;
  std::optional<std::vector<float>> Floats(int input) const;
  // One that is a single number.
  std::optional<float> Number(int input) const;
  const onnx::TensorProto* Constant(int input) const;

  // All nodes of the way are read; the last of them is what the reader adds for and gives of.
  void Take();

 private:
  OnnxReader& reader_;
  std::vector<const onnx::NodeProto*> nodes_;
};

}  // namespace downpour::formats
