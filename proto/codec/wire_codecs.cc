#include "proto/codec/wire_codecs.h"

namespace downpour {

absl::StatusOr<WireCodecs> WireCodecsOf(const Job& job) {
  WireCodecs codecs;
  const PushWire& push = job.wire().push();
  if (!push.codec().empty()) {
    const auto codec = FindCodec(push.codec());
    if (!codec.ok()) return codec.status();
    codecs.push = *codec;
  }
  codecs.settings = {push.share(), push.threshold(), push.rank()};
  codecs.feedback = push.feedback();
  codecs.min_elements = push.min_elements();
  const PullWire& pull = job.wire().pull();
  if (!pull.codec().empty()) {
    const auto codec = FindCodec(pull.codec());
    if (!codec.ok()) return codec.status();
    codecs.pull = *codec;
  }
  codecs.pull_settings = {pull.share(), pull.threshold(), 1};
  codecs.pull_min_elements = pull.min_elements();
  return codecs;
}

}  // namespace downpour
