// Pushes with the gradients of several workers.
#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/codec/block_reader.h"
#include "ps/shard_core.h"

namespace downpour::ps {

void ShardCore::OnCombined(Push event, std::vector<Action>& actions) {
  const Message& push = event.message;
  FrameHeader& header = event.message.header;
  stats_.received_bytes += push.payload.size();
  const auto refuse = [&](Refusal reason, std::string sentence) {
    Acknowledge(event.route, header, reason, std::move(sentence), actions);
  };
  Table* table = nullptr;
  std::string sentence;
  Table::Part* part = Locate(header, &push.payload, &table, &sentence);
  if (part != nullptr && !MayPush(codecs_, header.codec)) sentence = WrongCodec(header, *codecs_.push);
  if (part != nullptr && header.content != PushContent::kGradient) sentence = "only gradients are combined";
  std::set<uint32_t> workers;
  ForEachContribution(push, [&](const FrameHeader& one) {
    if (one.sequence == 0) sentence = "a push's sequence counts from 1";
    if (!workers.insert(one.worker).second) sentence = absl::StrCat("worker ", one.worker, " is in one push twice");
  });
  if (!sentence.empty()) return refuse(Refusal::kMalformed, sentence);
  if (draining_) return refuse(Refusal::kShuttingDown, kDraining);
  if (!part->set) return refuse(Refusal::kNotSet, absl::StrCat("part ", header.part, " has no values yet"));

  Refusal reason = Refusal::kNone;
  ForEachContribution(push, [&](const FrameHeader& one) {
    if (reason == Refusal::kNone) reason = CheckContribution(*part, one, &sentence);
  });
  if (reason != Refusal::kNone) return refuse(reason, sentence);
  std::optional<PushAction> action;
  ForEachContribution(push, [&](const FrameHeader& one) {
    const Settings& settings = settings_.At(one.clock);
    EnterRounds(*part, settings);
    const PushDecision decision = settings.mode->on_push(settings.sync, View(*part), {one.worker, one.clock});
    if (decision.action == PushAction::kRefuse) reason = decision.reason;
    // A push that is held already has to come again by itself.
    const bool again = decision.action == PushAction::kHold && part->clocks[one.worker].clock > one.clock;
    if (again || action.value_or(decision.action) != decision.action) reason = Refusal::kAlone;
    action = decision.action;
  });
  if (reason != Refusal::kNone) return refuse(reason, "one of the workers in it is elsewhere");
  const auto bad = event.finite ? std::nullopt : FirstNonFinite(push);
  if (!bad.ok()) return refuse(Refusal::kMalformed, std::string(bad.status().message()));
  if (bad->has_value()) {
    return refuse(Refusal::kNotFinite,
                  absl::StrCat("element ", part->begin + **bad, " of what was combined is not finite"));
  }
  // The schedule goes by the furthest of them.
  uint64_t clock = 0;
  ForEachContribution(push, [&](const FrameHeader& one) { clock = std::max(clock, one.clock); });
  header.clock = clock;
  if (*action == PushAction::kApply) {
    const Settings& settings = settings_.At(header.clock);
    Apply(*table, *part, settings, std::move(event), actions);
  } else {
    Hold(*part, std::move(event));
  }
  Settle(*table, *part, actions);
}

Refusal ShardCore::CheckContribution(const Table::Part& part, const FrameHeader& one, std::string* sentence) const {
  if (!leases_.Holds(one)) {
    auto [reason, why] = leases_.WhyNot(one);
    *sentence = std::move(why);
    return reason;
  }
  if (one.sequence <= part.members[one.worker].sequence) {
    *sentence = absl::StrCat("push ", one.sequence, " of worker ", one.worker, " was applied before");
    return Refusal::kDuplicate;
  }
  // One that is before it may yet come by another stream, and would then count as applied.
  if (one.sequence != part.members[one.worker].sequence + 1) {
    *sentence = absl::StrCat("of worker ", one.worker, " a push before ", one.sequence, " was not taken");
    return Refusal::kAlone;
  }
  if (settings_.At(one.clock).sync.delay_compensation() > 0) {
    *sentence = "sync.delay_compensation goes by what one worker has read";
    return Refusal::kAlone;
  }
  return CheckPush(part, one, sentence);
}

}  // namespace downpour::ps
