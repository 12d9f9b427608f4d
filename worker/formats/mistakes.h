// What is wrong with a file, all of it at once.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace downpour::formats {

class Mistakes {
 public:
  explicit Mistakes(std::string file) : file_(std::move(file)) {}

  // `line` from 1; 0 where there is none to name.
  void Add(int line, const std::string& what) {
    if (++count_ > kMost) return;
    lines_.push_back(absl::StrCat(file_, ":", line > 0 ? absl::StrCat(line, ":") : "", " ", what));
  }

  bool empty() const { return lines_.empty(); }

  // InvalidArgument with a line for each, or OK.
  absl::Status ToStatus() const {
    if (lines_.empty()) return absl::OkStatus();
    const std::string more = count_ > kMost ? absl::StrCat("\nand ", count_ - kMost, " more") : "";
    return absl::InvalidArgumentError(absl::StrCat(absl::StrJoin(lines_, "\n"), more));
  }

 private:
  static constexpr int kMost = 100;

  const std::string file_;
  std::vector<std::string> lines_;
  int count_ = 0;
};

}  // namespace downpour::formats
