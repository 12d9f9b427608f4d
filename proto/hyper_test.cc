#include "proto/hyper.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "proto/key.pb.h"

namespace downpour {
namespace {

TEST_CASE("the rules' names are the job file's choices") {
  const auto& choices = Optimizer::descriptor()->FindFieldByName("name")->options().GetExtension(key).choices();
  std::vector<std::string> names;
  for (const kernels::UpdateRule* rule : kernels::UpdateRules()) names.emplace_back(rule->name);
  CHECK(names == std::vector<std::string>(choices.begin(), choices.end()));
}

}  // namespace
}  // namespace downpour
