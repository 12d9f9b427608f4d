#include "proto/param_groups.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "proto/job_config.h"

namespace downpour {
namespace {

Job MakeJob(const std::string& multipliers) {
  return *ParseJob("name: j\nnet:\n"
                   "  - {name: c.1, type: convolution, outputs: 2, kernel: 1" + multipliers + "}\n"
                   "  - {name: r, type: relu}\n"
                   "  - {name: ip, type: inner_product, outputs: 3}\n"
                   "  - {name: loss, type: softmax_loss}\n",
                   "job.yaml");
}

TableSpec MakeSpec(const std::vector<std::pair<std::string, uint64_t>>& tensors, uint64_t elements) {
  TableSpec spec;
  spec.set_elements(elements);
  for (const auto& [name, offset] : tensors) {
    TensorSpec* tensor = spec.add_tensors();
    tensor->set_name(name);
    tensor->set_offset(offset);
    tensor->add_shape(1);
  }
  return spec;
}

TEST_CASE("each tensor goes by the keys of its layer") {
  const TableSpec spec = MakeSpec({{"c.1.weight", 0}, {"c.1.bias", 16}, {"ip.weight", 32}, {"ip.bias", 96}}, 112);
  using Groups = std::vector<ParamGroup>;
  CHECK(ParamGroups(MakeJob(""), spec) == Groups{{0, 16}, {16, 32}, {32, 96}, {96, 112}});
  CHECK(ParamGroups(MakeJob(", lr_mult: 2"), spec) == Groups{{0, 16, 2, 1}, {16, 32}, {32, 96}, {96, 112}});
  CHECK(ParamGroups(MakeJob(", lr_mult: 0.5, decay_mult: 3, bias_lr_mult: 2, bias_decay_mult: 0"), spec) ==
        Groups{{0, 16, 0.5, 3}, {16, 32, 2, 0}, {32, 96}, {96, 112}});
}

TEST_CASE("a layer may have several weights and biases") {
  const TableSpec spec = MakeSpec({{"c.1.weight_ih_l0", 0},
                                   {"c.1.bias_hh_l0", 16},
                                   {"c.1.out.weight", 32},
                                   {"c.1.out.bias", 48},
                                   {"c.1.running_mean", 64}},
                                  80);
  CHECK(ParamGroups(MakeJob(", lr_mult: 2, bias_lr_mult: 3"), spec) ==
        std::vector<ParamGroup>{{0, 16, 2, 1}, {16, 32, 3, 1}, {32, 48, 2, 1}, {48, 64, 3, 1}, {64, 80}});
}

TEST_CASE("what has no layer's name goes by 1, and nothing is left out") {
  const TableSpec spec =
      MakeSpec({{"c.1", 5}, {"c.1.scale", 16}, {".weight", 32}, {"c.weight", 48}, {"c.1.weight", 64}}, 100);
  CHECK(ParamGroups(MakeJob(", lr_mult: 2"), spec) ==
        std::vector<ParamGroup>{{0, 16}, {16, 32}, {32, 48}, {48, 64}, {64, 100, 2, 1}});
  CHECK(ParamGroups(Job(), MakeSpec({{"a", 0}}, 16)) == std::vector<ParamGroup>{{0, 16}});
}

TEST_CASE("running averages are told apart") {
  TableSpec spec = MakeSpec({{"c.1.weight", 0}, {"b.running_mean", 16}, {"ip.bias", 32}}, 48);
  spec.mutable_tensors(1)->set_average(true);
  const auto groups = ParamGroups(MakeJob(""), spec);
  CHECK_FALSE(groups[0].settings.average);
  CHECK(groups[1].settings.average);
  CHECK_FALSE(groups[2].settings.average);
}

TEST_CASE("multipliers belong to layers that have parameters") {
  const auto job = ParseJob("name: j\nnet: [{name: r, type: relu, lr_mult: 2}]", "job.yaml");
  CHECK(std::string(job.status().message()).find("net[0].lr_mult: belongs to type") != std::string::npos);
}

}  // namespace
}  // namespace downpour
