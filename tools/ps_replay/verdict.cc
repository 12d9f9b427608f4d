#include "tools/ps_replay/verdict.h"

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace downpour::replay {
namespace {

using nlohmann::ordered_json;
using ps::ReplayedLog;
using ps::ReplayedPart;

constexpr char kResults[][16] = {"same bits", "broken off", "different"};

std::string Hex(uint64_t checksum) { return absl::StrFormat("%016x", checksum); }

std::string Servers(uint32_t servers, uint32_t shards) {
  return absl::StrCat(servers, servers == 1 ? " server of " : " servers of ", shards,
                      shards == 1 ? " shard" : " shards");
}

std::string Where(const ReplayedPart& part) {
  return absl::StrCat("server-", part.recorded_server(), "-shard-", part.recorded_shard());
}

// A map's entries in the order of their keys: "0: 12  1: 13".
template <typename Map>
std::string Entries(const Map& map) {
  const std::map<typename Map::key_type, typename Map::mapped_type> sorted(map.begin(), map.end());
  std::string text;
  for (const auto& [key, value] : sorted) absl::StrAppend(&text, text.empty() ? "" : "  ", key, ": ", value);
  return text.empty() ? "-" : text;
}

std::string DifferenceText(const ReplayedPart& part) {
  const ReplayedPart::Difference& d = part.difference();
  std::string text = absl::StrCat("part ", part.part(), " in ", Where(part), ": ");
  if (d.recorded_updates() != d.replayed_updates()) {
    absl::StrAppend(&text, "it had ", d.recorded_updates(), " updates after event ", d.differs_after(), " and now has ",
                    d.replayed_updates());
  } else {
    absl::StrAppend(&text, "other bits after event ", d.differs_after());
  }
  return absl::StrCat(text, "; the same after event ", d.same_after());
}

double Seconds(const ps::Replayed& replayed) {
  int64_t begin = 0;
  int64_t end = 0;
  for (const ReplayedLog& log : replayed.logs()) {
    if (log.events() == 0) continue;
    begin = begin == 0 ? log.begin_us() : std::min(begin, log.begin_us());
    end = std::max(end, log.end_us());
  }
  return static_cast<double>(end - begin) / 1e6;
}

}  // namespace

Verdict Judge(const ps::Replayed& replayed) {
  Verdict verdict;
  bool complete = true;
  for (const ReplayedLog& log : replayed.logs()) {
    complete = complete && log.complete();
    verdict.events += log.events();
    verdict.recorded_checksum += log.checksum();
  }
  for (const ReplayedPart& part : replayed.parts()) {
    complete = complete && part.compared_to_the_end();
    verdict.checksum += part.checksum();
    verdict.marks += part.marks();
    if (!part.has_difference()) continue;
    if (verdict.first && verdict.first->difference().unix_us() <= part.difference().unix_us()) continue;
    verdict.first = part;
    verdict.first->clear_values();
  }
  if (!complete) verdict.recorded_checksum = 0;
  // The end is compared part by part; the sums are what a run's other tools know.
  const bool same = !verdict.first && (!complete || verdict.checksum == verdict.recorded_checksum);
  verdict.result = !same ? Result::kDifferent : complete ? Result::kSame : Result::kBrokenOff;
  return verdict;
}

std::string VerdictText(const ps::Recording& recording, const ps::ReplayOptions& options,
                        const ps::Replayed& replayed, const Verdict& verdict) {
  std::string text = absl::StrFormat("%s (%s, %s), recorded on %s: %d events in %.1f s\n", recording.job.name(),
                                     recording.job.sync().mode(), recording.job.optimizer().name(),
                                     Servers(recording.servers, recording.shards), verdict.events, Seconds(replayed));
  absl::StrAppend(&text, "replayed on ", Servers(options.servers, options.shards), "\n\n",
                  "  part  recorded  replayed  elements   updates  checksum          pushes by worker; refused\n");
  for (const ReplayedPart& part : replayed.parts()) {
    absl::StrAppendFormat(&text, "%6d  %8s  %8s  %8d  %8d  %s  %s%s%s\n", part.part(),
                          absl::StrCat(part.recorded_server(), "/", part.recorded_shard()),
                          absl::StrCat(part.server(), "/", part.shard()), part.values_size(), part.updates(),
                          Hex(part.checksum()), Entries(part.pushes()),
                          part.refused().empty() ? "" : "; " + Entries(part.refused()),
                          part.has_difference() ? "  DIFFERENT" : part.set() ? "" : "  without values");
  }
  text += "\n";
  for (const ReplayedLog& log : replayed.logs()) {
    if (!log.broken_off().empty()) {
      absl::StrAppend(&text, "server-", log.server(), "-shard-", log.shard(), ", ", log.events(), " events: ",
                      log.broken_off(), "\n");
    }
  }
  switch (verdict.result) {
    case Result::kSame:
      absl::StrAppend(&text, "checksum ", Hex(verdict.checksum), ": same bits, at the end and at ", verdict.marks,
                      " marks\n");
      break;
    case Result::kBrokenOff:
      absl::StrAppend(&text, "checksum ", Hex(verdict.checksum), "; the same bits at ", verdict.marks,
                      " marks, but there is no end to compare with\n");
      break;
    case Result::kDifferent:
      absl::StrAppend(&text, "checksum ", Hex(verdict.checksum),
                      verdict.recorded_checksum == 0 ? "" : absl::StrCat(", recorded ", Hex(verdict.recorded_checksum)),
                      ": DIFFERENT\n");
      if (verdict.first) absl::StrAppend(&text, "first in ", DifferenceText(*verdict.first), "\n");
  }
  return text;
}

ordered_json VerdictJson(const ps::Recording& recording, const ps::ReplayOptions& options,
                         const ps::Replayed& replayed, const Verdict& verdict) {
  ordered_json json = {{"job", recording.job.name()},
                       {"result", kResults[static_cast<int>(verdict.result)]},
                       {"recorded", {{"servers", recording.servers}, {"shards", recording.shards}}},
                       {"replayed", {{"servers", options.servers}, {"shards", options.shards}}},
                       {"events", verdict.events},
                       {"marks", verdict.marks},
                       {"checksum", Hex(verdict.checksum)}};
  if (verdict.recorded_checksum != 0) json["recorded_checksum"] = Hex(verdict.recorded_checksum);
  const auto difference = [](const ReplayedPart& part) {
    const ReplayedPart::Difference& d = part.difference();
    return ordered_json{{"part", part.part()},
                        {"log", Where(part)},
                        {"same_after", d.same_after()},
                        {"differs_after", d.differs_after()},
                        {"recorded_updates", d.recorded_updates()},
                        {"replayed_updates", d.replayed_updates()}};
  };
  if (verdict.first) json["first_difference"] = difference(*verdict.first);
  json["logs"] = ordered_json::array();
  for (const ReplayedLog& log : replayed.logs()) {
    ordered_json object = {{"server", log.server()}, {"shard", log.shard()}, {"events", log.events()}};
    if (!log.broken_off().empty()) object["broken_off"] = log.broken_off();
    json["logs"].push_back(std::move(object));
  }
  json["parts"] = ordered_json::array();
  for (const ReplayedPart& part : replayed.parts()) {
    ordered_json object = {{"part", part.part()},
                           {"recorded", {part.recorded_server(), part.recorded_shard()}},
                           {"replayed", {part.server(), part.shard()}},
                           {"elements", part.values_size()},
                           {"updates", part.updates()},
                           {"checksum", Hex(part.checksum())},
                           {"pushes", ordered_json::object()},
                           {"refused", ordered_json::object()}};
    for (const auto& [worker, count] : std::map<uint32_t, uint64_t>(part.pushes().begin(), part.pushes().end())) {
      object["pushes"][std::to_string(worker)] = count;
    }
    for (const auto& [reason, count] : std::map<std::string, uint64_t>(part.refused().begin(), part.refused().end())) {
      object["refused"][reason] = count;
    }
    if (part.has_difference()) object["difference"] = difference(part);
    json["parts"].push_back(std::move(object));
  }
  return json;
}

}  // namespace downpour::replay
