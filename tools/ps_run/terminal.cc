#include "tools/ps_run/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

#include <nlohmann/json.hpp>

namespace downpour::run {
namespace {

constexpr double kPlainEverySeconds = 5;

size_t Columns() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void Print(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace

Voice ChooseVoice(bool json) {
  if (json) return Voice::kJson;
  return isatty(STDOUT_FILENO) ? Voice::kLive : Voice::kPlain;
}

void Terminal::ClearLine() {
  if (line_shown_) Print("\r\x1b[K");
  line_shown_ = false;
}

void Terminal::Say(absl::string_view text, const nlohmann::ordered_json& event) {
  if (voice_ == Voice::kJson) {
    Print(event.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
    return;
  }
  ClearLine();
  Print(std::string(text) + "\n");
}

void Terminal::Progress(const ProgressView& view, const nlohmann::ordered_json& event) {
  if (voice_ == Voice::kJson) return Say("", event);
  std::string line = FormatProgress(view);
  if (voice_ == Voice::kPlain) {
    if (view.point.seconds - last_plain_seconds_ < kPlainEverySeconds) return;
    last_plain_seconds_ = view.point.seconds;
    return Print(line + "\n");
  }
  if (line.size() >= Columns()) line.resize(Columns() - 1);
  Print("\r\x1b[K" + line);
  line_shown_ = true;
}

void Terminal::Text(absl::string_view text) {
  if (voice_ == Voice::kJson) return;
  ClearLine();
  Print(text);
}

}  // namespace downpour::run
