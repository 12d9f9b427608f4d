#include "ps/service/intake.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace downpour::ps {
namespace {

// So that answers to tiny frames can't pile up for a peer that does not read them.
constexpr uint64_t kMostFrames = 1 << 16;

Intake::Verdict End(Refusal reason, absl::Status why) { return {.reason = reason, .end = std::move(why)}; }

Intake::Verdict Refuse(Refusal reason, std::string sentence) {
  return {.reason = reason, .sentence = std::move(sentence)};
}

}  // namespace

Intake::Intake(std::shared_ptr<const Directory> directory, const FrameHeader& hello, uint64_t credit_bytes)
    : directory_(std::move(directory)),
      hello_(hello),
      credit_bytes_(credit_bytes),
      most_pulls_(16 + 4 * uint64_t{directory_->parts_here}) {}

Intake::Verdict Intake::Take(const FrameHeader& header) {
  const bool pull = header.kind == FrameKind::kPull;
  if (!pull && header.kind != FrameKind::kSet && header.kind != FrameKind::kPush) {
    return End(Refusal::kMalformed, absl::InvalidArgumentError(absl::StrCat(
                                        "a frame of kind ", std::string(FrameKindName(header.kind)), " after hello")));
  }
  if (header.job != hello_.job || header.worker != hello_.worker || header.fence != hello_.fence) {
    return End(Refusal::kMalformed,
               absl::InvalidArgumentError("a frame of another job, worker or fence than the hello's"));
  }
  if (header.contributors > 0 && header.contributors >= directory_->workers) {
    return End(Refusal::kMalformed, absl::InvalidArgumentError("a push of more workers than the job has"));
  }
  if (!Reserve(header)) {
    return End(Refusal::kOverload,
               absl::ResourceExhaustedError(pull ? "more pulls in flight than parts allow"
                                                 : absl::StrCat("more than ", credit_bytes_, " bytes unacknowledged")));
  }
  if (header.map_version != directory_->map_version) {
    return Refuse(Refusal::kWrongMap,
                  absl::StrCat("map version ", header.map_version, "; here it is ", directory_->map_version));
  }
  const bool known = header.table == directory_->table && header.part < directory_->parts.size();
  const Directory::Place place = known ? directory_->parts[header.part] : Directory::Place{};
  if (place.shard < 0) {
    return Refuse(Refusal::kMalformed,
                  absl::StrCat("part ", header.part, " of table ", header.table, " is not on this server"));
  }
  if (pull && header.payload_bytes != 0) return Refuse(Refusal::kMalformed, "a pull with a payload");
  if (!pull && header.elements != place.elements) {
    return Refuse(Refusal::kMalformed, absl::StrCat("part ", header.part, " has ", place.elements,
                                                    " elements; the frame carries ", header.elements));
  }
  return {.shard = static_cast<uint32_t>(place.shard), .elements = static_cast<uint32_t>(place.elements)};
}

bool Intake::Reserve(const FrameHeader& header) {
  if (header.kind == FrameKind::kPull) {
    if (pulls_ >= most_pulls_) return false;
    ++pulls_;
    return true;
  }
  if (unacknowledged_bytes_ + header.payload_bytes > credit_bytes_ || frames_ >= kMostFrames) return false;
  unacknowledged_bytes_ += header.payload_bytes;
  ++frames_;
  return true;
}

void Intake::Release(FrameKind answer, uint64_t bytes) {
  if (answer == FrameKind::kAck) {
    unacknowledged_bytes_ -= bytes;
    --frames_;
  } else if ((answer == FrameKind::kValues || answer == FrameKind::kRefused) && pulls_ > 0) {
    --pulls_;
  }
}

}  // namespace downpour::ps
