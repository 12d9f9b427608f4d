#include "ps/table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "kernels/selection.h"
#include "kernels/split_mix.h"
#include "kernels/vector_ops.h"
#include "proto/codec/block_reader.h"
#include "proto/codec/sparse_reader.h"
#include "proto/hyper.h"

namespace downpour::ps {
namespace {

constexpr size_t kAlignment = 16;  // floats: one cache line

size_t RoundUp(size_t elements) { return (elements + kAlignment - 1) / kAlignment * kAlignment; }

uint64_t Hash(std::initializer_list<uint64_t> words) {
  uint64_t hash = kernels::kSplitMix64Step;
  for (const uint64_t word : words) hash = kernels::SplitMix64Finalize(hash ^ word) + kernels::kSplitMix64Step;
  return hash;
}

// Of a message whose payload was found to be one.
std::unique_ptr<BlockReader> ReaderOf(const Message& message) {
  return *BlockReader::Open(message.header.codec, message.payload, message.header.elements);
}

// Reads the weighted sum of gradients from front to back. One gradient alone is its own sum and is not copied.
class GradientReader {
 public:
  GradientReader(std::span<const Table::Gradient> gradients, std::span<float> scratch)
      : gradients_(gradients), scratch_(scratch) {
    for (const Table::Gradient& gradient : gradients) {
      readers_.push_back(ReaderOf(*gradient.message));
    }
  }

  // The next floats: at least one and at most out.size(), in a payload or in `out`; none at the end.
  std::span<const float> Next(std::span<float> out) {
    if (readers_.size() == 1 && gradients_[0].weight == 1) return readers_[0]->Next(out.size(), out);
    kernels::Zero(out);
    for (size_t i = 0; i < readers_.size(); ++i) {
      for (size_t filled = 0; filled < out.size();) {
        const std::span<const float> block = readers_[i]->Next(out.size() - filled, scratch_);
        if (block.empty()) break;
        kernels::Axpy(gradients_[i].weight, block, out.subspan(filled, block.size()));
        filled += block.size();
      }
    }
    return out;
  }

  // All of the next out.size() floats, in `out`.
  std::span<const float> Fill(std::span<float> out) {
    for (size_t filled = 0; filled < out.size();) {
      const std::span<float> left = out.subspan(filled, std::min(kBlockElements, out.size() - filled));
      const std::span<const float> block = Next(left);
      if (block.empty()) return {};
      if (block.data() != left.data()) std::copy(block.begin(), block.end(), left.begin());
      filled += block.size();
    }
    return out;
  }

 private:
  const std::span<const Table::Gradient> gradients_;
  const std::span<float> scratch_;
  std::vector<std::unique_ptr<BlockReader>> readers_;
};

}  // namespace

std::unique_ptr<Table> Table::Create(uint32_t id, std::span<const PartRange> ranges, std::vector<ParamGroup> groups,
                                     const kernels::UpdateRule* rule, uint32_t workers) {
  const int slots = rule == nullptr ? 0 : rule->slots;
  size_t total = 0;
  size_t largest = 0;
  for (const PartRange& range : ranges) {
    total += RoundUp(range.end - range.begin) * (1 + slots);
    largest = std::max<size_t>(largest, range.end - range.begin);
  }
  PageBuffer arena(total);
  if (arena.size() != total) return nullptr;
  std::unique_ptr<Table> table(new Table(id, rule, std::move(groups), std::move(arena), largest, ranges.size()));
  table->scratch_.resize(kBlockElements);
  size_t largest_sum = kBlockElements;
  if (!ranges.empty()) table->by_index_.assign(ranges.back().part + 1, -1);
  float* at = table->arena_.data();
  for (const PartRange& range : ranges) {
    const size_t size = range.end - range.begin;
    Part& part = table->parts_.emplace_back();
    part.index = range.part;
    part.begin = range.begin;
    part.pieces = table->CutByGroups(range);
    if (table->WholeTensors()) {
      size_t begin = 0;
      for (const Piece& piece : part.pieces) {
        largest_sum = std::max(largest_sum, piece.end - std::exchange(begin, piece.end));
      }
    }
    part.values = {at, size};
    at += RoundUp(size);
    for (int slot = 0; slot < slots; ++slot, at += RoundUp(size)) part.slots.push_back(at);
    part.members.resize(workers);
    part.clocks = MemberClocks(workers);
    table->by_index_[range.part] = static_cast<int32_t>(table->parts_.size()) - 1;
    table->elements_ += size;
  }
  table->sum_ = PageBuffer(largest_sum);
  return table->sum_.size() == largest_sum ? std::move(table) : nullptr;
}

std::vector<Table::Piece> Table::CutByGroups(const PartRange& range) const {
  std::vector<Piece> pieces;
  const auto add = [&](uint64_t end, const GroupSettings& settings) {
    const bool alike = !WholeTensors() && !pieces.empty() && pieces.back().settings == settings;
    if (!alike) pieces.push_back({0, settings});
    pieces.back().end = end - range.begin;
  };
  uint64_t at = range.begin;
  auto group = std::partition_point(groups_.begin(), groups_.end(), [at](const auto& g) { return g.end <= at; });
  for (; group != groups_.end() && group->begin < range.end; ++group) {
    if (group->begin > at) add(group->begin, {});
    at = std::min(group->end, range.end);
    add(at, group->settings);
  }
  if (at < range.end) add(range.end, {});
  return pieces;
}

bool Table::Covers(std::span<const PartRange> parts, std::span<const ParamGroup> groups) const {
  if (!std::equal(groups_.begin(), groups_.end(), groups.begin(), groups.end())) return false;
  return std::equal(
      parts_.begin(), parts_.end(), parts.begin(), parts.end(), [](const Part& part, const PartRange& range) {
        return part.index == range.part && part.begin == range.begin && part.begin + part.values.size() == range.end;
      });
}

Table::Part* Table::Find(uint32_t index) {
  if (index >= by_index_.size() || by_index_[index] < 0) return nullptr;
  return &parts_[by_index_[index]];
}

void Table::Assign(Part& part, const Message& message) {
  const auto reader = ReaderOf(message);
  for (size_t at = 0; at < part.values.size();) {
    const std::span<const float> block = reader->Next(part.values.size() - at, scratch_);
    if (block.empty()) break;
    std::copy(block.begin(), block.end(), part.values.begin() + at);
    at += block.size();
  }
  part.set = true;
}

void Table::Apply(Part& part, kernels::Hyper hyper, std::span<const Gradient> gradients,
                  const Compensation& compensation) {
  hyper.update = ++part.version;
  if (ApplySparse(part, hyper, gradients, compensation)) return;
  GradientReader reader(gradients, scratch_);
  std::optional<PayloadReader> then;
  if (compensation.then != nullptr) then.emplace(*compensation.then);
  std::array<float*, kernels::kMaxSlots> slots;
  size_t at = 0;
  for (const Piece& piece : part.pieces) {
    while (at < piece.end) {
      std::span<const float> block = WholeTensors()
                                         ? reader.Fill(sum_.values().first(piece.end - at))
                                         : reader.Next(sum_.values().first(std::min(kBlockElements, piece.end - at)));
      if (block.empty()) return;
      const std::span<float> values = part.values.subspan(at, block.size());
      if (then) {
        then_.resize(block.size());
        then->Read(std::as_writable_bytes(std::span(then_)));
        const std::span<float> made_up = sum_.values().first(block.size());
        for (size_t i = 0; i < block.size(); ++i) {
          const float g = block[i];
          made_up[i] = piece.settings.average ? g : g + compensation.factor * g * g * (values[i] - then_[i]);
        }
        block = made_up;
      }
      for (size_t i = 0; i < part.slots.size(); ++i) slots[i] = part.slots[i] + at;
      ApplyUpdate(*rule_, hyper, piece.settings, values, kernels::Slots(slots).first(part.slots.size()), block,
                  sum_.values());
      at += block.size();
    }
  }
}

bool Table::ApplySparse(Part& part, const kernels::Hyper& hyper, std::span<const Gradient> gradients,
                        const Compensation& compensation) {
  constexpr size_t kAtOnce = 1024;
  const bool penalties = hyper.weight_decay != 0 || hyper.l1 != 0 || hyper.l2 != 0;
  const bool alone = gradients.size() == 1 && gradients[0].weight == 1 && compensation.then == nullptr;
  if (!rule_->lazy || penalties || !alone) return false;
  const Message& message = *gradients[0].message;
  const auto opened = SparseReader::Open(message.header.codec, message.payload, message.header.elements);
  if (!opened.ok() || *opened == nullptr) return false;
  std::array<uint32_t, kAtOnce> places;
  std::array<float, kAtOnce> gradient, values;
  std::array<std::array<float, kAtOnce>, kernels::kMaxSlots> gathered;
  std::array<float*, kernels::kMaxSlots> slots;
  auto piece = part.pieces.begin();
  while (const size_t count = (*opened)->Next(places, gradient)) {
    for (size_t from = 0; from < count;) {
      while (places[from] >= piece->end) ++piece;
      const auto beyond = std::lower_bound(places.begin() + from, places.begin() + count, piece->end);
      const auto at = std::span(places).subspan(from, beyond - (places.begin() + from));
      kernels::Gather(part.values, at, values);
      for (size_t slot = 0; slot < part.slots.size(); ++slot) {
        slots[slot] = gathered[slot].data();
        kernels::Gather({part.slots[slot], part.values.size()}, at, gathered[slot]);
      }
      ApplyUpdate(*rule_, hyper, piece->settings, std::span(values).first(at.size()),
                  kernels::Slots(slots).first(part.slots.size()), std::span(gradient).subspan(from, at.size()),
                  sum_.values());
      kernels::Scatter(values, at, part.values);
      for (size_t slot = 0; slot < part.slots.size(); ++slot) {
        kernels::Scatter(gathered[slot], at, {part.slots[slot], part.values.size()});
      }
      from += at.size();
    }
  }
  return true;
}

void Table::Replace(Part& part, std::span<const Gradient> values) {
  ++part.version;
  GradientReader reader(values, scratch_);
  for (size_t at = 0; at < part.values.size();) {
    const auto block = reader.Next(sum_.values().first(std::min(kBlockElements, part.values.size() - at)));
    if (block.empty()) return;
    std::copy(block.begin(), block.end(), part.values.begin() + at);
    at += block.size();
  }
}

void Table::Add(Part& part, std::span<const Gradient> differences) {
  ++part.version;
  GradientReader reader(differences, scratch_);
  for (size_t at = 0; at < part.values.size();) {
    const auto block = reader.Next(sum_.values().first(std::min(kBlockElements, part.values.size() - at)));
    if (block.empty()) return;
    kernels::Axpy(1, block, part.values.subspan(at, block.size()));
    at += block.size();
  }
}

const Payload& Table::Snapshot(Part& part) {
  if (part.snapshot.size() != 0 && part.snapshot_version == part.version) return part.snapshot;
  part.snapshot = Payload();
  BufferPool::Buffer buffer = pool_.Take();
  if (buffer.values.size() < part.values.size()) return part.snapshot;
  std::memcpy(buffer.values.data(), part.values.data(), part.values.size_bytes());
  part.snapshot = Payload(std::move(buffer.owner), std::span<const float>(buffer.values.first(part.values.size())));
  part.snapshot_version = part.version;
  return part.snapshot;
}

const Payload& Table::Snapshot(Part& part, const Codec& codec) {
  if (part.coded == nullptr || part.coded->codec() != codec.id) {
    part.coded = std::make_unique<CodedSnapshot>(codec, LayoutOf(part, 0));
  }
  return part.coded->Of(part.values, part.version);
}

PartLayout Table::LayoutOf(const Part& part, uint32_t min_elements) const {
  PartLayout layout;
  layout.elements = static_cast<uint32_t>(part.values.size());
  const uint64_t end = part.begin + part.values.size();
  for (const ParamGroup& group : groups_) {
    if (group.end <= part.begin || group.begin >= end) continue;
    if (!group.settings.average && group.end - group.begin >= min_elements) continue;
    const auto from = static_cast<uint32_t>(std::max(group.begin, part.begin) - part.begin);
    const auto to = static_cast<uint32_t>(std::min(group.end, end) - part.begin);
    if (!layout.exempt.empty() && layout.exempt.back().end == from) {
      layout.exempt.back().end = to;
    } else {
      layout.exempt.push_back({from, to});
    }
  }
  return layout;
}

DeltaAnswer Table::Difference(Part& part, const FrameHeader& pull, const WireCodecs& codecs, bool together) {
  if (part.deltas == nullptr) {
    part.deltas = std::make_unique<DeltaSender>(
        *codecs.pull, codecs.pull_settings, LayoutOf(part, codecs.pull_min_elements), Hash({id_, part.index}));
  }
  difference_.resize(std::max(difference_.size(), part.values.size()));
  return part.deltas->Answer(part.values, part.version, together,
                             {pull.worker, pull.fence, pull.sequence, pull.position}, difference_);
}

void Table::ForgetWorker(Part& part, uint32_t partition) {
  if (part.deltas != nullptr) part.deltas->Forget(partition);
}

PartState Table::Save(const Part& part) const {
  PartState state{.table = id_,
                  .part = part.index,
                  .begin = part.begin,
                  .end = part.begin + part.values.size(),
                  .slots = static_cast<uint32_t>(part.slots.size()),
                  .set = part.set,
                  .warm = part.warm,
                  .version = part.version,
                  .clock = part.clock,
                  .next_rounds = part.next_rounds,
                  .members = {},
                  .floats = {}};
  for (size_t i = 0; i < part.members.size(); ++i) {
    state.members.push_back({part.members[i].sequence, part.members[i].position, part.clocks[i].clock});
  }
  // What is held was not acknowledged, and comes again.
  for (const Held& held : part.held) {
    ForEachContribution(held.message, [&](const FrameHeader& one) { state.members[one.worker].clock = one.clock; });
  }
  const size_t size = part.values.size();
  const auto copy = std::make_shared<PageBuffer>(size * (1 + part.slots.size()));
  if (copy->size() == 0) return state;
  std::copy(part.values.begin(), part.values.end(), copy->data());
  for (size_t slot = 0; slot < part.slots.size(); ++slot) {
    std::copy_n(part.slots[slot], size, copy->data() + (1 + slot) * size);
  }
  state.floats = Payload(copy, std::span<const float>(copy->values()));
  return state;
}

bool Table::Load(const PartState& state) {
  Part* const part = Find(state.part);
  const bool fits = part != nullptr && state.table == id_ && state.begin == part->begin &&
                    state.end == part->begin + part->values.size() && state.slots == part->slots.size() &&
                    state.members.size() == part->members.size() && state.floats.size() == state.float_bytes();
  if (!fits) return false;
  PayloadReader floats(state.floats);
  floats.Read(std::as_writable_bytes(part->values));
  for (float* const slot : part->slots) floats.Read(std::as_writable_bytes(std::span(slot, part->values.size())));
  part->set = state.set;
  part->warm = state.warm;
  part->version = state.version;
  part->clock = state.clock;
  part->next_rounds = state.next_rounds;
  for (size_t i = 0; i < state.members.size(); ++i) {
    part->members[i] = {state.members[i].sequence, state.members[i].position};
    part->clocks.SetClock(i, state.members[i].clock);
  }
  part->restored.assign(state.members.size(), true);
  part->parked_at.reset();
  part->saving.reset();
  part->sent.clear();
  part->snapshot = {};
  part->snapshot_version = 0;
  part->coded = nullptr;
  part->deltas = nullptr;
  return true;
}

uint64_t Table::Checksum() const {
  uint64_t sum = 0;
  for (const Part& part : parts_) sum += Checksum(part);
  return sum;
}

uint64_t Table::Checksum(const Part& part) const {
  uint64_t sum = 0;
  const auto add = [&](uint64_t vector, const float* values) {
    for (size_t i = 0; i < part.values.size(); ++i) {
      const uint64_t where = (part.begin + i) * (kernels::kMaxSlots + 1) + vector;
      sum += kernels::SplitMix64Finalize(where << 32 ^ where >> 32 ^ std::bit_cast<uint32_t>(values[i]));
    }
  };
  add(0, part.values.data());
  for (size_t i = 0; i < part.slots.size(); ++i) add(1 + i, part.slots[i]);
  sum += Hash({id_, part.index, part.set, part.version, part.clock, part.warm, part.next_rounds});
  for (size_t i = 0; i < part.members.size(); ++i) {
    sum += Hash({id_, part.index, i, part.members[i].sequence, part.members[i].position, part.clocks[i].clock,
                 static_cast<uint64_t>(part.clocks[i].membership)});
  }
  return sum;
}

}  // namespace downpour::ps
