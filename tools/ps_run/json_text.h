// JSON as text, whatever bytes its strings hold: what is not UTF-8 is replaced.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace downpour::run {

// On one line, or with `indent` spaces a level.
inline std::string JsonText(const nlohmann::ordered_json& value, int indent = -1) {
  return value.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace downpour::run
