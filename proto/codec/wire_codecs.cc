#include "proto/codec/wire_codecs.h"

#include <algorithm>

namespace downpour {
namespace {

constexpr double kFirstShare = 0.01;
constexpr uint32_t kMinElements = 1024;  // as job.proto has it, where the job's own codec is raw
constexpr double kBytesAMegabit = 1e6 / 8;

std::vector<WireLevel> LevelsOf(const Job& job, const WireCodecs& codecs) {
  std::vector<WireLevel> levels = {{codecs.push, codecs.settings}};
  if (!job.wire().adapt()) return levels;
  const double least = job.wire().adapt_min_share();
  const bool wide = codecs.push->for_parameters;
  if (wide && least < 1) levels.push_back({&kInt8Codec, {}});
  const bool sparse = codecs.push->id == CodecId::kTopK;
  const double first = sparse ? codecs.settings.share / 10 : std::max(kFirstShare, least);
  for (double share = first; share >= 0.999 * least && share < 0.5; share /= 10) {
    levels.push_back({&kTopKCodec, TopKSettings(share)});
  }
  const Sync& sync = job.sync();
  if (!sync.has_n_push() || !sync.has_n_fetch()) return levels;
  const uint64_t longest = std::max(sync.n_push(), sync.n_fetch());
  for (uint32_t times = 2; longest * times <= job.wire().adapt_max_n(); times *= 2) {
    WireLevel level = levels.back();
    level.intervals = times;
    levels.push_back(level);
  }
  return levels;
}

}  // namespace

CodecSettings TopKSettings(double share) {
  CodecSettings settings;
  settings.share = share;
  return settings;
}

bool MayPush(const WireCodecs& codecs, CodecId codec) {
  if (codec == CodecId::kRaw || codec == codecs.push->id) return true;
  if (codecs.push_bytes_per_second > 0 && codec == CodecId::kTopK) return true;
  return std::ranges::any_of(codecs.levels, [codec](const WireLevel& level) { return level.push->id == codec; });
}

absl::StatusOr<WireCodecs> WireCodecsOf(const Job& job) {
  WireCodecs codecs;
  const PushWire& push = job.wire().push();
  if (!push.codec().empty()) {
    const auto codec = FindCodec(push.codec());
    if (!codec.ok()) return codec.status();
    codecs.push = *codec;
  }
  codecs.settings = {push.share(), push.threshold(), push.rank()};
  codecs.push_bytes_per_second = push.max_bandwidth_mbps() * kBytesAMegabit;
  codecs.feedback = push.feedback() || job.wire().adapt() || codecs.push_bytes_per_second > 0;
  const bool may_be_less = job.wire().adapt() || codecs.push_bytes_per_second > 0;
  codecs.min_elements = push.has_min_elements() || !may_be_less ? push.min_elements() : kMinElements;
  // What loses nothing need not spare anything.
  if (codecs.push->lossless && !may_be_less) codecs.min_elements = 0;
  codecs.levels = LevelsOf(job, codecs);
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
