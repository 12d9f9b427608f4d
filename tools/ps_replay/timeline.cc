#include "tools/ps_replay/timeline.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "proto/settings.h"
#include "ps/event_log.h"
#include "ps/shard_core.h"
#include "tools/ps_run/json_text.h"

namespace downpour::replay {
namespace {

using ps::Action;
using ps::Event;
using ps::Reply;

struct Line {
  std::string what;
  std::optional<uint32_t> worker;
  uint64_t fence = 0;
  bool observer = false;  // reads, and is no worker
  std::optional<uint32_t> part;
  std::optional<uint64_t> clock;
  std::optional<uint64_t> sequence;
  std::optional<uint64_t> from;  // the update that a push was computed from
  std::optional<uint64_t> staleness;
  std::string decided;
  std::vector<std::string> also;  // what else it set off
};

std::string Sentence(const Message& message) {
  std::string text(message.payload.size(), '\0');
  PayloadReader(message.payload).Read(std::as_writable_bytes(std::span(text)));
  return text;
}

std::string Refused(const Message& answer) {
  const std::string sentence = Sentence(answer);
  return absl::StrCat("refused, ", std::string(RefusalName(answer.header.reason)), sentence.empty() ? "" : ": ",
                      sentence);
}

// What the event says of itself; nothing for a tick.
class Describe {
 public:
  Line operator()(const ps::CreateTable& event) const {
    uint64_t elements = 0;
    std::vector<uint32_t> parts;
    for (const ps::PartRange& part : event.parts) {
      elements += part.end - part.begin;
      parts.push_back(part.part);
    }
    constexpr size_t kNamed = 8;
    const size_t more = parts.size() > kNamed ? parts.size() - kNamed : 0;
    parts.resize(parts.size() - more);
    return {.what = "table", .decided = absl::StrCat(elements, " elements in parts ", absl::StrJoin(parts, " "),
                                                     more == 0 ? "" : absl::StrCat(" and ", more, " more"))};
  }
  Line operator()(const ps::Join& event) const {
    return {.what = "join", .worker = event.partition, .fence = event.fence, .observer = event.observer,
            .decided = absl::StrCat("fence ", event.fence)};
  }
  Line operator()(const ps::Leave& event) const {
    return {.what = "leave", .worker = event.partition, .fence = event.fence,
            .decided = absl::StrCat("fence ", event.fence)};
  }
  Line operator()(const ps::Hangup& event) const {
    return {.what = "hangup", .decided = absl::StrCat("stream ", event.stream)};
  }
  Line operator()(const ps::Set& event) const { return Frame("set", event.message.header); }
  Line operator()(const ps::Push& event) const {
    Line line = Frame("push", event.message.header);
    line.from = event.message.header.version;
    return line;
  }
  Line operator()(const ps::Pull& event) const { return Frame("pull", event.header); }
  Line operator()(const ps::Change& event) const {
    return {.what = "change",
            .decided = absl::StrCat("version ", event.change.version(), ", from clock ", event.change.from_clock(),
                                    ": rate ", event.change.learning_rate(), ", ",
                                    SyncText(event.change.sync()))};
  }
  Line operator()(const ps::Tick&) const { return {.what = "tick"}; }
  Line operator()(const ps::Drain&) const { return {.what = "drain"}; }
  Line operator()(const ps::Checkpoint& event) const {
    return {.what = "checkpoint", .decided = absl::StrCat("number ", event.number, ", clock ", event.clock)};
  }
  Line operator()(const ps::Restore& event) const {
    return {.what = "restore", .part = event.state.part, .clock = event.state.clock,
            .decided = absl::StrCat("update ", event.state.version)};
  }

 private:
  static Line Frame(const char* what, const FrameHeader& header) {
    Line line{.what = what,
              .worker = header.worker,
              .fence = header.fence,
              .part = header.part,
              .clock = header.clock};
    if (header.sequence != 0) line.sequence = header.sequence;
    return line;
  }
};

// Whether an answer is the event's own, and not that of one which waited.
bool Answers(const Message& answer, const Line& line) {
  const FrameHeader& header = answer.header;
  const bool pulled = header.kind == FrameKind::kValues || header.kind == FrameKind::kRefused;
  return line.part == header.part && line.worker == header.worker && line.sequence.value_or(0) == header.sequence &&
         pulled == (line.what == "pull");
}

// Fills in what was decided, from the actions.
void Decide(const std::vector<Action>& actions, bool was_set, Line* line) {
  bool answered = false;
  for (const Action& action : actions) {
    if (const auto* created = std::get_if<ps::Created>(&action); created != nullptr && !created->ok) {
      line->also.push_back("no memory for it");
    }
    if (const auto* report = std::get_if<ps::Report>(&action);
        report != nullptr && line->what == "join" && report->progress && !line->observer) {
      line->also.push_back(absl::StrCat("goes on after push ", report->progress->sequence, ", sample ",
                                        report->progress->position));
    }
    const auto* reply = std::get_if<Reply>(&action);
    if (reply == nullptr) continue;
    const Message& answer = reply->message;
    const FrameHeader& header = answer.header;
    const bool values = header.kind == FrameKind::kValues;
    const bool refused = header.reason != Refusal::kNone;
    if (!answered && Answers(answer, *line)) {
      answered = true;
      if (refused) {
        line->decided = Refused(answer);
      } else if (values) {
        line->decided = absl::StrCat("values of update ", header.version, ", clock ", header.clock);
      } else if (line->what == "set") {
        line->decided = was_set ? "set" : "had values already";
      } else {
        line->decided = absl::StrCat("update ", header.version + 1);
        line->staleness = header.version - std::min(header.version, line->from.value_or(0));
      }
      continue;
    }
    const std::string whose =
        absl::StrCat(values || header.kind == FrameKind::kRefused ? "pull" : "push", " ", header.sequence,
                     " of worker ", header.worker, ", part ", header.part, ": ");
    line->also.push_back(absl::StrCat(whose, refused  ? Refused(answer)
                                             : values ? absl::StrCat("values of update ", header.version)
                                                      : absl::StrCat("update ", header.version + 1)));
  }
  if (answered) return;
  if (line->what == "push") line->decided = "held";
  if (line->what == "pull") line->decided = "waits";
}

std::string Column(const std::optional<uint64_t>& value) { return value ? absl::StrCat(*value) : "-"; }

constexpr char kTitles[] =
    "    seconds  shard      event what   worker  part    clock sequence     from stale  decided\n";

class Track {
 public:
  static absl::StatusOr<std::unique_ptr<Track>> Open(const Job& job, const std::string& path, uint64_t until) {
    auto reader = ps::EventLogReader::Open(path);
    if (!reader.ok()) return reader.status();
    auto core = ps::ShardCore::Create(job);
    if (!core.ok()) return core.status();
    std::unique_ptr<Track> track(new Track(until, *std::move(reader), *std::move(core)));
    if (absl::Status status = track->Advance(); !status.ok()) return status;
    return track;
  }

  int64_t begin_us() const { return reader_->header().unix_us; }
  // Whether there is one more event.
  bool more() const { return next_.has_value(); }
  int64_t next_us() const { return ps::UnixUs(reader_->header(), *next_); }
  // Why the log ends early; empty where it doesn't.
  const std::string& broken_off() const { return broken_off_; }

  absl::Status Handle(int64_t origin_us, bool json, std::ostream& out) {
    const double seconds = static_cast<double>(next_us() - origin_us) / 1e6;
    const uint64_t number = next_->number;
    Event event = std::get<Event>(std::move(next_->entry));
    Line line = std::visit(Describe(), event);
    if (line.observer) observers_.insert(line.fence);
    line.observer = observers_.contains(line.fence);
    const uint64_t sets = core_->stats().sets;
    const bool tick = std::holds_alternative<ps::Tick>(event);
    core_->Handle(std::move(event), actions_);
    Decide(actions_, core_->stats().sets != sets, &line);
    if (!tick || !actions_.empty()) {
      if (json) {
        PrintJson(seconds, number, line, out);
      } else {
        Print(seconds, number, line, out);
      }
    }
    actions_.clear();
    return Advance();
  }

 private:
  Track(uint64_t until, std::unique_ptr<ps::EventLogReader> reader, std::unique_ptr<ps::ShardCore> core)
      : until_(until), reader_(std::move(reader)), core_(std::move(core)) {}

  absl::Status Advance() {
    for (;;) {
      next_.reset();
      auto record = reader_->Next();
      if (absl::IsOutOfRange(record.status())) {
        broken_off_ = std::string(record.status().message());
        return absl::OkStatus();
      }
      if (!record.ok()) return record.status();
      if (!*record || (*record)->number > until_) return absl::OkStatus();
      if (const auto* end = std::get_if<ps::BrokenOff>(&(*record)->entry)) broken_off_ = end->reason;
      if (!std::holds_alternative<Event>((*record)->entry)) continue;
      next_ = *std::move(record);
      return absl::OkStatus();
    }
  }

  void Print(double seconds, uint64_t number, const Line& line, std::ostream& out) const {
    std::string decided = line.decided;
    for (const std::string& also : line.also) absl::StrAppend(&decided, decided.empty() ? "" : "; ", also);
    out << absl::StrFormat("%11.6f %6s %10d %-6s %6s %5s %8s %8s %8s %5s  %s\n", seconds,
                           absl::StrCat(reader_->header().server, "/", reader_->header().shard), number, line.what,
                           line.observer ? "reader" : Column(line.worker), Column(line.part), Column(line.clock),
                           Column(line.sequence), Column(line.from), Column(line.staleness), decided);
  }

  void PrintJson(double seconds, uint64_t number, const Line& line, std::ostream& out) const {
    nlohmann::ordered_json object = {{"seconds", seconds},
                                     {"server", reader_->header().server},
                                     {"shard", reader_->header().shard},
                                     {"event", number},
                                     {"what", line.what}};
    const auto put = [&](const char* key, const auto& value) {
      if (value) object[key] = *value;
    };
    if (line.observer) {
      object["observer"] = line.fence;
    } else {
      put("worker", line.worker);
    }
    put("part", line.part);
    put("clock", line.clock);
    put("sequence", line.sequence);
    put("from", line.from);
    put("staleness", line.staleness);
    if (!line.decided.empty()) object["decided"] = line.decided;
    if (!line.also.empty()) object["also"] = line.also;
    out << run::JsonText(object) << '\n';
  }

  const uint64_t until_;
  const std::unique_ptr<ps::EventLogReader> reader_;
  const std::unique_ptr<ps::ShardCore> core_;
  std::vector<Action> actions_;
  std::set<uint64_t> observers_;  // their fences
  std::optional<ps::LogRecord> next_;  // always an event
  std::string broken_off_;
};

}  // namespace

absl::Status PrintTimeline(const ps::Recording& recording, const TimelineOptions& options, std::ostream& out) {
  std::vector<std::unique_ptr<Track>> tracks;
  for (size_t i = 0; i < recording.logs.size(); ++i) {
    auto track =
        Track::Open(recording.job, recording.logs[i], options.until.empty() ? ~uint64_t{0} : options.until[i]);
    if (!track.ok()) return track.status();
    tracks.push_back(*std::move(track));
  }
  int64_t origin_us = tracks.front()->begin_us();
  for (const auto& track : tracks) origin_us = std::min(origin_us, track->begin_us());

  using Due = std::pair<int64_t, size_t>;  // time, track
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due;
  const auto queue = [&](size_t i) {
    if (tracks[i]->more()) due.push({tracks[i]->next_us(), i});
  };
  for (size_t i = 0; i < tracks.size(); ++i) queue(i);
  if (!options.json) out << kTitles;
  while (!due.empty() && out) {
    const size_t i = due.top().second;
    due.pop();
    if (absl::Status status = tracks[i]->Handle(origin_us, options.json, out); !status.ok()) return status;
    queue(i);
  }
  for (const auto& track : tracks) {
    if (track->broken_off().empty()) continue;
    if (options.json) {
      out << run::JsonText({{"what", "broken off"}, {"decided", track->broken_off()}}) << '\n';
    } else {
      out << "broken off: " << track->broken_off() << '\n';
    }
  }
  return absl::OkStatus();
}

}  // namespace downpour::replay
