// A net's shapes and parameters, from its layers' configuration alone: without the memory that computing takes, and without
// a loss where it has none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/device.h"
#include "kernels/tensor_view.h"
#include "proto/job.pb.h"
#include "worker/gradient_plan.h"
#include "worker/net.h"
#include "worker/net_graph.h"

namespace downpour::worker {

struct LayerOutline {
  std::string name;
  std::string type;
  int layer = 0;            // its place in the job's net
  std::vector<int> inputs;  // places in NetOutline::layers, or kSamples
  std::vector<kernels::Shape> input_shapes;
  bool loss = false;
  bool gradient_in_place = false;  // as Layer::gradient_in_place
  kernels::Shape output;  // of one sample; a loss has none
  std::size_t first_parameter = 0;  // in NetOutline::parameters
  std::size_t parameters = 0;
  std::uint64_t multiply_accumulates = 0;  // of one sample on its way forward, those of matrices and filters
};

struct NetOutline {
  kernels::Shape sample;
  std::vector<LayerOutline> layers;   // each after those whose values it takes
  std::vector<Parameter> parameters;  // of the names and in the order of Net's, one right after the other
  std::size_t parameter_count = 0;    // floats of all of them
};

// One layer more. `inputs` are places in net->layers, or kSamples. InvalidArgument as OutlineNet.
absl::Status AppendLayer(const downpour::Layer& config, const std::vector<int>& inputs, kernels::Device& device,
                         NetOutline* net);

// InvalidArgument as Net::Create, but for what makes a net one that can be trained; also for a layer of more than 2^26
// values a sample.
absl::StatusOr<NetOutline> OutlineNet(const google::protobuf::RepeatedPtrField<downpour::Layer>& layers,
                                      const std::vector<std::uint32_t>& sample_shape);

// The stages of the net, then its losses, for PlanGradients.
std::vector<PlannedStage> PlannedStages(const NetOutline& net);

}  // namespace downpour::worker
