#include "proto/job_overrides.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace downpour {
namespace {

using Names = std::span<const std::string>;

YAML::Node With(const YAML::Node& node, Names path, const YAML::Node& value) {
  if (path.empty()) return value;
  // A copy: by an alias the node may stand elsewhere too.
  YAML::Node copy(YAML::NodeType::Map);
  bool found = false;
  if (node.IsMap()) {
    for (const auto& entry : node) {
      const bool here = entry.first.IsScalar() && entry.first.Scalar() == path[0];
      found |= here;
      copy.force_insert(entry.first, here ? With(entry.second, path.subspan(1), value) : entry.second);
    }
  }
  if (!found) copy.force_insert(path[0], With(YAML::Node(), path.subspan(1), value));
  return copy;
}

// The shortest beginning of `path` under which nothing of `root` is kept.
std::string Topmost(const YAML::Node& root, Names path) {
  YAML::Node node = root;
  size_t length = 0;
  while (length < path.size() && node.IsMap()) {
    const YAML::Node next = std::as_const(node)[path[length++]];
    if (!next.IsDefined()) break;
    node.reset(next);
  }
  return absl::StrJoin(path.first(std::max<size_t>(length, 1)), ".");
}

}  // namespace

absl::StatusOr<Overrides> Overrides::Parse(const std::vector<std::string>& texts) {
  Overrides overrides;
  std::vector<std::string> mistakes;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    const std::string path = text.substr(0, equals);
    const std::vector<std::string> names = absl::StrSplit(path, '.');
    if (equals == std::string::npos || std::any_of(names.begin(), names.end(), [](const auto& n) { return n.empty(); })) {
      mistakes.push_back(absl::StrCat("--set '", text, "': should be key=value, such as sync.n_push=10"));
      continue;
    }
    try {
      overrides.values_.emplace_back(path, YAML::Load(text.substr(equals + 1)));
    } catch (const YAML::Exception& error) {
      mistakes.push_back(absl::StrCat("--set ", path, ": not YAML: ", error.msg));
    }
  }
  if (!mistakes.empty()) return absl::InvalidArgumentError(absl::StrJoin(mistakes, "\n"));
  return overrides;
}

YAML::Node Overrides::ApplyTo(YAML::Node root) {
  for (const auto& [path, value] : values_) {
    const std::vector<std::string> names = absl::StrSplit(path, '.');
    sources_[Topmost(root, names)] = path;
    root.reset(With(root, names, value));
  }
  return root;
}

const std::string* Overrides::SourceOf(absl::string_view path) const {
  const std::string* source = nullptr;
  size_t longest = 0;
  for (const auto& [topmost, given] : sources_) {
    if (topmost.size() < longest || !absl::StartsWith(path, topmost)) continue;
    const absl::string_view rest = path.substr(topmost.size());
    if (!rest.empty() && rest[0] != '.' && rest[0] != '[') continue;
    source = &given;
    longest = topmost.size();
  }
  return source;
}

}  // namespace downpour
