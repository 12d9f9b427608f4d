// Keys that are set beside a job file, each as `path=value`, `sync.n_push=10` for one. They go into the file's YAML tree
// before it is parsed, so that they are checked as the file's own keys are.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace downpour {

class Overrides {
 public:
  // The value is YAML. InvalidArgument, a line for each text that is not of this form.
  static absl::StatusOr<Overrides> Parse(const std::vector<std::string>& texts);

  // The tree with the values in it, in the order given; a section or list that stood there is replaced as a whole.
  // `root` stays as it is. Once.
  YAML::Node ApplyTo(YAML::Node root);

  // The path, as it was given, of the override by which the key at `path` stands in the tree; null where it does not
  // stand there by any.
  const std::string* SourceOf(absl::string_view path) const;

 private:
  std::vector<std::pair<std::string, YAML::Node>> values_;  // by path, as given
  std::map<std::string, std::string> sources_;  // the topmost path that an override put there -> its own path
};

}  // namespace downpour
