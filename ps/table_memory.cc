#include "ps/table_memory.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/optimizer/update_rule.h"
#include "proto/codec/wire_codecs.h"
#include "proto/hyper.h"

namespace downpour::ps {

bool AllGoTogether(const SettingsHistory& settings) {
  for (uint32_t version = 0; version <= settings.latest().version; ++version) {
    if (!GoTogether(*settings.Version(version))) return false;
  }
  return true;
}

uint64_t ElementsOn(const ShardMap& map, uint32_t server) {
  uint64_t elements = 0;
  for (const ShardMap::Part& part : map.tables(0).parts()) {
    if (part.server() == server) elements += part.end() - part.begin();
  }
  return elements;
}

bool PlansCheckpoints(const Job& job) { return job.checkpoint().every_s() > 0 || job.checkpoint().every_steps() > 0; }

absl::Status CheckTableMemory(const Job& job, const MemoryUse& use, const TableSpec& spec, uint64_t elements_here) {
  // What all who go together have, and that once more for those who come later.
  constexpr uint64_t kCopiesTogether = 2;
  const auto rule = ServerRule(job);
  const uint64_t slots = !rule.ok() || *rule == nullptr ? 0 : (*rule)->slots;
  const auto codecs = WireCodecsOf(job);
  // Where differences travel, what each worker has is kept.
  const bool differences = codecs.ok() && !codecs->pull->for_parameters;
  const uint64_t workers = use.together ? std::min<uint64_t>(job.workers(), kCopiesTogether) : job.workers();
  const uint64_t copies = differences ? workers : 0;
  // Until it is written, a checkpoint has a copy of parameters and slots.
  const uint64_t kept = use.checkpoint ? 1 + slots : 0;
  const uint64_t bytes_an_element = sizeof(float) * (1 + slots + copies + kept);
  const uint64_t limit = job.servers().memory_limit_bytes();
  if (elements_here <= limit / bytes_an_element) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the net's ", spec.elements(), " parameters with ", slots, " slots each",
                   copies == 0 ? "" : absl::StrCat(" and ", copies, " copies, of what workers have (wire.pull),"),
                   kept == 0 ? "" : " and a copy of them for a checkpoint", " need ",
                   absl::StrFormat("%.0f", static_cast<double>(elements_here) * bytes_an_element), " bytes on each of ",
                   job.servers().addresses_size(), " servers; servers.memory_limit_bytes is ", limit));
}

}  // namespace downpour::ps
