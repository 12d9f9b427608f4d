#include "ps/delta_sender.h"

#include <algorithm>
#include <set>
#include <utility>

#include "kernels/split_mix.h"
#include "kernels/vector_ops.h"
#include "proto/codec/block_reader.h"
#include "proto/codec/part_encoder.h"

namespace downpour::ps {
namespace {

// Steps towards one version that are kept for those who share a line.
constexpr size_t kMostKept = 4;

}  // namespace

DeltaSender::DeltaSender(const Codec& codec, const CodecSettings& settings, PartLayout layout, uint64_t seed)
    : codec_(codec), settings_(settings), layout_(std::move(layout)), seed_(seed) {}

std::optional<Payload> DeltaSender::Answer(std::span<const float> values, uint64_t version, bool together,
                                           const DeltaRequest& request, std::span<float> scratch) {
  workers_.resize(std::max<size_t>(workers_.size(), request.partition + 1));
  Worker& worker = workers_[request.partition];
  const bool known = worker.line != nullptr && request.has != 0 && worker.number == request.has &&
                     worker.fence == request.fence;
  worker.fence = request.fence;
  worker.number = request.number;
  std::optional<Payload> step;
  if (known) step = Step(values, version, &worker, scratch);
  if (!step) StartLine(values, version, together, &worker);
  return step;
}

void DeltaSender::StartLine(std::span<const float> values, uint64_t version, bool together, Worker* worker) {
  worker->steps = 0;
  const auto same = std::find_if(workers_.begin(), workers_.end(), [&](const Worker& other) {
    return together && other.line != nullptr && other.line->steps == 0 && other.line->version == version;
  });
  if (same != workers_.end()) {
    worker->line = same->line;
    return;
  }
  if (worker->line.use_count() != 1) {
    worker->line = std::make_shared<Line>(layout_.elements);
    const uint64_t seed = kernels::SplitMix64Finalize(seed_ + kernels::kSplitMix64Step * ++lines_);
    worker->line->encoder = codec_.encoder({layout_.elements, layout_.rows, settings_, seed});
  }
  Line& line = *worker->line;
  std::copy(values.begin(), values.end(), line.has.data());
  line.steps = 0;
  line.version = version;
  line.of_version.clear();
}

std::optional<Payload> DeltaSender::Step(std::span<const float> values, uint64_t version, Worker* worker,
                                         std::span<float> scratch) {
  Line& line = *worker->line;
  const uint64_t behind = line.steps - worker->steps;
  if (behind > 0) {
    if (line.version != version || behind > line.of_version.size()) return std::nullopt;
    ++worker->steps;
    return line.of_version[line.of_version.size() - behind];
  }
  const std::span<float> difference = scratch.first(values.size());
  kernels::Subtract(values, {line.has.data(), line.has.size()}, difference);
  if (!kernels::AllFinite(difference)) return std::nullopt;
  const Payload payload = Encode(&line, difference);
  if (line.version != version) line.of_version.clear();
  line.version = version;
  ++line.steps;
  ++worker->steps;
  if (worker->line.use_count() > 1) line.of_version.push_back(payload);
  if (line.of_version.size() > kMostKept) line.of_version.pop_front();
  return payload;
}

Payload DeltaSender::Encode(Line* line, std::span<float> difference) {
  const std::shared_ptr<ByteBuffer> buffer = line->buffers.Take();
  EncodePart(layout_, difference, line->encoder.get(), buffer.get());
  Payload payload(buffer, std::vector<Payload::Bytes>{buffer->bytes()});
  // Just as the worker will do it, to the same bits.
  AddPayload(codec_.id, payload, {line->has.data(), line->has.size()}).IgnoreError();
  return payload;
}

void DeltaSender::Forget(uint32_t partition) {
  if (partition < workers_.size()) workers_[partition] = {};
}

size_t DeltaSender::copies() const {
  std::set<const Line*> lines;
  for (const Worker& worker : workers_) lines.insert(worker.line.get());
  lines.erase(nullptr);
  return lines.size();
}

}  // namespace downpour::ps
