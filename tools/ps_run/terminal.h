// Where ps-run speaks to people, or to programs.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "absl/strings/string_view.h"
#include "tools/ps_run/progress_line.h"

namespace downpour::run {

enum class Voice {
  kLive,   // a terminal: the progress line is rewritten in place
  kPlain,  // a file or pipe: a line now and then
  kJson,   // one JSON object a line
};

// kJson where asked for, else by whether standard output is a terminal.
Voice ChooseVoice(bool json);

// Owns standard output. One thread at a time may use it.
class Terminal {
 public:
  explicit Terminal(Voice voice) : voice_(voice) {}

  // Something happened: a line for people, or `event` with its members for programs.
  void Say(absl::string_view text, const nlohmann::ordered_json& event);
  // How far the run is.
  void Progress(const ProgressView& view, const nlohmann::ordered_json& event);
  // The summary: text for people; programs read the event that came before.
  void Text(absl::string_view text);

 private:
  void ClearLine();

  const Voice voice_;
  bool line_shown_ = false;
  double last_plain_seconds_ = -1e9;
};

}  // namespace downpour::run
