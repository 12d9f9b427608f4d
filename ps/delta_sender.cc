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

DeltaAnswer DeltaSender::Answer(std::span<const float> values, uint64_t version, bool together,
                                const DeltaRequest& request, std::span<float> scratch) {
  workers_.resize(std::max<size_t>(workers_.size(), request.partition + 1));
  Worker& worker = workers_[request.partition];
  const bool known = worker.line != nullptr && (worker.line == common_) == together && request.has != 0 &&
                     worker.number == request.has && worker.fence == request.fence;
  worker.fence = request.fence;
  worker.number = request.number;
  return together ? AnswerTogether(values, version, known, &worker, scratch)
                  : AnswerAlone(values, version, known, &worker, scratch);
}

DeltaAnswer DeltaSender::AnswerAlone(std::span<const float> values, uint64_t version, bool known, Worker* worker,
                                     std::span<float> scratch) {
  if (known) {
    if (const auto step = Step(values, version, worker->line.get(), scratch)) {
      return {DeltaAnswer::Kind::kDifference, *step};
    }
  }
  if (worker->line == nullptr || worker->line == common_) worker->line = MakeLine();
  if (common_.use_count() == 1) common_ = nullptr;
  Restart(values, version, worker->line.get());
  return {};
}

DeltaAnswer DeltaSender::AnswerTogether(std::span<const float> values, uint64_t version, bool known, Worker* worker,
                                        std::span<float> scratch) {
  if (common_ == nullptr) {
    common_ = MakeLine();
    Restart(values, version, common_.get());
  }
  Line& line = *common_;
  const uint64_t behind = known ? line.steps - worker->steps : 0;
  if (behind > 0 && behind <= line.last.size() && line.version == version) {
    ++worker->steps;
    return {DeltaAnswer::Kind::kDifference, line.last[line.last.size() - behind]};
  }
  const bool at_head = known && behind == 0;
  std::optional<Payload> step;
  if (at_head || line.version != version) {
    step = Step(values, version, &line, scratch);
    if (!step) Restart(values, version, &line);
  }
  if (step) line.last.push_back(*step);
  if (line.last.size() > kMostKept) line.last.pop_front();
  worker->line = common_;
  worker->steps = line.steps;
  if (at_head && step) return {DeltaAnswer::Kind::kDifference, *step};
  if (line.exact) return {};
  if (line.whole.size() == 0) {
    const std::shared_ptr<ByteBuffer> buffer = line.buffers.Take();
    buffer->Clear();
    buffer->AppendAll(std::span<const float>(line.has.data(), line.has.size()));
    line.whole = Payload(buffer, std::vector<Payload::Bytes>{buffer->bytes()});
  }
  return {DeltaAnswer::Kind::kWhole, line.whole};
}

std::shared_ptr<DeltaSender::Line> DeltaSender::MakeLine() {
  auto line = std::make_shared<Line>(layout_.elements);
  const uint64_t seed = kernels::SplitMix64Finalize(seed_ + kernels::kSplitMix64Step * ++lines_);
  line->encoder = codec_.encoder({layout_.elements, layout_.rows, settings_, seed});
  return line;
}

void DeltaSender::Restart(std::span<const float> values, uint64_t version, Line* line) {
  std::copy(values.begin(), values.end(), line->has.data());
  line->version = version;
  line->exact = true;
  ++line->steps;
  line->last.clear();
  line->whole = {};
}

std::optional<Payload> DeltaSender::Step(std::span<const float> values, uint64_t version, Line* line,
                                         std::span<float> scratch) {
  const std::span<float> has(line->has.data(), line->has.size());
  const std::span<float> difference = scratch.first(values.size());
  kernels::Subtract(values, has, difference);
  if (!kernels::AllFinite(difference)) return std::nullopt;
  if (line->version != version) line->last.clear();
  line->version = version;
  line->exact = false;
  ++line->steps;
  line->whole = {};
  const std::shared_ptr<ByteBuffer> buffer = line->buffers.Take();
  EncodePart(layout_, difference, line->encoder.get(), buffer.get());
  Payload payload(buffer, std::vector<Payload::Bytes>{buffer->bytes()});
  AddPayload(codec_.id, payload, has).IgnoreError();  // just as the worker will do it, to the same bits
  return payload;
}

void DeltaSender::Forget(uint32_t partition) {
  if (partition < workers_.size()) workers_[partition] = {};
  if (common_.use_count() == 1) common_ = nullptr;
}

size_t DeltaSender::copies() const {
  std::set<const Line*> lines = {common_.get()};
  for (const Worker& worker : workers_) lines.insert(worker.line.get());
  lines.erase(nullptr);
  return lines.size();
}

}  // namespace downpour::ps
