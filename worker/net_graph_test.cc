#include "worker/net_graph.h"

#include <google/protobuf/text_format.h>

#include <string>

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace downpour::worker {
namespace {

using Layers = google::protobuf::RepeatedPtrField<downpour::Layer>;

// "a < data b" is a layer a that takes the samples and b; "a" one that names no inputs.
Layers Net(const std::vector<std::string>& lines) {
  Job job;
  for (const std::string& line : lines) {
    downpour::Layer* layer = job.add_net();
    std::istringstream words(line);
    std::string word;
    words >> word;
    layer->set_name(word == "?" ? "" : word);
    words >> word;
    while (words >> word) layer->add_inputs(word);
  }
  return job.net();
}

// In the order, each layer with the places of its inputs: "a<data b<0".
std::string Order(const std::vector<std::string>& lines) {
  const Layers layers = Net(lines);
  const auto order = OrderLayers(layers);
  if (!order.ok()) return std::string(order.status().message());
  return absl::StrJoin(*order, " ", [&](std::string* out, const GraphNode& node) {
    const std::string inputs = absl::StrJoin(node.inputs, ",", [](std::string* to, int input) {
      absl::StrAppend(to, input == kSamples ? "data" : absl::StrCat(input));
    });
    absl::StrAppend(out, layers[node.layer].name(), "<", inputs);
  });
}

TEST_CASE("layers that name no inputs are a chain") {
  CHECK(Order({"a", "b", "c"}) == "a<data b<0 c<1");
  CHECK(Order({"a"}) == "a<data");
}

TEST_CASE("a layer stands after those whose values it takes, and otherwise as in the job") {
  CHECK(Order({"a", "b < data", "c < a b"}) == "a<data b<data c<0,1");
  CHECK(Order({"sum < b a", "a < data", "b < a", "loss < sum"}) == "a<data b<0 sum<1,0 loss<2");
  CHECK(Order({"x < data", "twice < x x", "y"}) == "x<data twice<0,0 y<1");
}

TEST_CASE("names that do not lead anywhere are told") {
  CHECK(Order({"a", "b < aa"}) == "layer b takes its input from aa, but no layer is called so");
  CHECK(Order({"a", "a"}) == "two layers are called a; each needs a name of its own");
  CHECK(Order({"?"}) == "the layer after the input has no name");
  CHECK(Order({"a", "?"}) == "the layer after layer a has no name");
  CHECK(Order({"data"}) == "a layer is called data, which in a layer's inputs stands for the samples");
}

TEST_CASE("layers that wait for each other are named in a circle") {
  CHECK(Order({"a < a"}) == "layers take their inputs from each other in a circle: a, from a");
  CHECK(Order({"in", "a < in c", "b < a", "c < b", "out"}) ==
        "layers take their inputs from each other in a circle: a, from c, from b, from a");
  // `tail` waits too, but is in no circle.
  CHECK(Order({"tail < b", "a < b", "b < a"}) ==
        "layers take their inputs from each other in a circle: b, from a, from b");
}

TEST_CASE("a net of many layers is ordered in a moment") {
  std::vector<std::string> lines;
  for (int i = 0; i < 100000; ++i) lines.push_back(absl::StrCat("l", i));
  const auto order = OrderLayers(Net(lines));
  REQUIRE(order.ok());
  CHECK(order->back().inputs == std::vector<int>{99998});
}

}  // namespace
}  // namespace downpour::worker
