#include "tools/ps_run/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>

#include <nlohmann/json.hpp>

#include "tools/ps_run/json_text.h"
#include "worker/line_writer.h"

namespace downpour::run {
namespace {

constexpr double kPlainEverySeconds = 5;

size_t Columns() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

constexpr std::chrono::milliseconds kPatience{1000};  // with a reader that does not read
constexpr std::chrono::milliseconds kNone{0};

void Print(absl::string_view text, std::chrono::milliseconds patience) {
  worker::WriteWithin(STDOUT_FILENO, text, patience);
}

}  // namespace

Voice ChooseVoice(bool json) {
  if (json) return Voice::kJson;
  return isatty(STDOUT_FILENO) ? Voice::kLive : Voice::kPlain;
}

void Terminal::ClearLine() {
  if (line_shown_) Print("\r\x1b[K", kNone);
  line_shown_ = false;
}

void Terminal::Say(absl::string_view text, const nlohmann::ordered_json& event) {
  if (voice_ == Voice::kJson) {
    Print(JsonText(event) + "\n", kPatience);
    return;
  }
  ClearLine();
  Print(std::string(text) + "\n", kPatience);
}

void Terminal::Progress(const ProgressView& view, const nlohmann::ordered_json& event) {
  if (voice_ == Voice::kJson) return Print(JsonText(event) + "\n", kNone);
  std::string line = FormatProgress(view);
  if (voice_ == Voice::kPlain) {
    if (view.point.seconds - last_plain_seconds_ < kPlainEverySeconds) return;
    last_plain_seconds_ = view.point.seconds;
    return Print(line + "\n", kNone);
  }
  if (line.size() >= Columns()) line.resize(Columns() - 1);
  Print("\r\x1b[K" + line, kNone);
  line_shown_ = true;
}

void Terminal::Text(absl::string_view text) {
  if (voice_ == Voice::kJson) return;
  ClearLine();
  Print(text, kPatience);
}

}  // namespace downpour::run
