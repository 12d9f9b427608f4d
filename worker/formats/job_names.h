// Names of a job's layers, from names of elsewhere.
#pragma once

#include <set>
#include <string>

namespace downpour::formats {

// Letters, digits, '.', '_' and '-', at most 64: what a job takes as a name.
std::string JobName(const std::string& name);

// Hands out names, each once and never that of the samples.
class JobNames {
 public:
  JobNames();

  // JobName of it, with a number at its end where that is taken.
  std::string Make(const std::string& name);

 private:
  std::set<std::string> taken_;
};

}  // namespace downpour::formats
