#include "worker/formats/job_names.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "worker/net_graph.h"

namespace downpour::formats {
namespace {

constexpr std::size_t kMostOfName = 64;

}  // namespace

std::string JobName(const std::string& name) {
  std::string made = name.substr(0, kMostOfName);
  for (char& c : made) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') c = '_';
  }
  if (made.empty() || made[0] == '.') made = absl::StrCat("_", made.substr(0, kMostOfName - 1));
  return made;
}

JobNames::JobNames() { taken_.insert(std::string(worker::kSamplesName)); }

std::string JobNames::Make(const std::string& name) {
  const std::string wanted = JobName(name);
  std::string unique = wanted;
  for (int i = 2; !taken_.insert(unique).second; ++i) {
    const std::string end = absl::StrCat("_", i);
    unique = absl::StrCat(wanted.substr(0, kMostOfName - end.size()), end);
  }
  return unique;
}

}  // namespace downpour::formats
