#include "ps/table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "kernels/vector_ops.h"
#include "ps/codec.h"

namespace downpour::ps {
namespace {

constexpr size_t kAlignment = 16;  // floats: one cache line

size_t RoundUp(size_t elements) { return (elements + kAlignment - 1) / kAlignment * kAlignment; }

uint64_t Mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9;
  x ^= x >> 27;
  x *= 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t Hash(std::initializer_list<uint64_t> words) {
  uint64_t hash = 0x9e3779b97f4a7c15;
  for (const uint64_t word : words) hash = Mix(hash ^ word) + 0x9e3779b97f4a7c15;
  return hash;
}

}  // namespace

std::unique_ptr<Table> Table::Create(uint32_t id, std::span<const PartRange> ranges, const kernels::UpdateRule* rule,
                                     uint32_t workers) {
  const int slots = rule == nullptr ? 0 : rule->slots;
  size_t total = 0;
  size_t largest = 0;
  for (const PartRange& range : ranges) {
    total += RoundUp(range.end - range.begin) * (1 + slots);
    largest = std::max<size_t>(largest, range.end - range.begin);
  }
  PageBuffer arena(total);
  if (arena.size() != total) return nullptr;
  std::unique_ptr<Table> table(new Table(id, rule, std::move(arena), largest, ranges.size()));
  table->scratch_.resize(kBlockElements);
  table->sum_.resize(kBlockElements);
  if (!ranges.empty()) table->by_index_.assign(ranges.back().part + 1, -1);
  float* at = table->arena_.data();
  for (const PartRange& range : ranges) {
    const size_t size = range.end - range.begin;
    Part& part = table->parts_.emplace_back();
    part.index = range.part;
    part.begin = range.begin;
    part.values = {at, size};
    at += RoundUp(size);
    for (int slot = 0; slot < slots; ++slot, at += RoundUp(size)) part.slots.push_back(at);
    part.members.resize(workers);
    part.views.resize(workers);
    table->by_index_[range.part] = static_cast<int32_t>(table->parts_.size()) - 1;
    table->elements_ += size;
  }
  return table;
}

bool Table::Covers(std::span<const PartRange> parts) const {
  return std::equal(parts_.begin(), parts_.end(), parts.begin(), parts.end(),
                    [](const Part& part, const PartRange& range) {
                      return part.index == range.part && part.begin == range.begin &&
                             part.begin + part.values.size() == range.end;
                    });
}

Table::Part* Table::Find(uint32_t index) {
  if (index >= by_index_.size() || by_index_[index] < 0) return nullptr;
  return &parts_[by_index_[index]];
}

std::optional<uint64_t> Table::FirstNonFinite(const Message& message) {
  const auto reader = FindCodec(message.header.codec)->read(message.payload);
  for (uint64_t at = 0;;) {
    const std::span<const float> block = reader->Next(kBlockElements, scratch_);
    if (block.empty()) return std::nullopt;
    if (const auto bad = kernels::FirstNonFinite(block)) return at + *bad;
    at += block.size();
  }
}

void Table::Assign(Part& part, const Message& message) {
  const auto reader = FindCodec(message.header.codec)->read(message.payload);
  for (size_t at = 0; at < part.values.size();) {
    const std::span<const float> block = reader->Next(part.values.size() - at, scratch_);
    if (block.empty()) break;
    std::copy(block.begin(), block.end(), part.values.begin() + at);
    at += block.size();
  }
  part.set = true;
}

void Table::Update(Part& part, const kernels::Hyper& hyper, size_t at, std::span<const float> gradient) {
  std::array<float*, kernels::kMaxSlots> slots;
  for (size_t i = 0; i < part.slots.size(); ++i) slots[i] = part.slots[i] + at;
  kernels::ApplyUpdate(*rule_, hyper, part.values.subspan(at, gradient.size()),
                       kernels::Slots(slots).first(part.slots.size()), gradient, sum_);
}

template <typename Take>
void Table::ForEachSum(const Part& part, std::span<const Gradient> gradients, Take take) {
  std::vector<std::unique_ptr<BlockReader>> readers;
  for (const Gradient& gradient : gradients) {
    readers.push_back(FindCodec(gradient.message->header.codec)->read(gradient.message->payload));
  }
  for (size_t at = 0; at < part.values.size();) {
    const size_t wanted = std::min(kBlockElements, part.values.size() - at);
    if (gradients.size() == 1 && gradients[0].weight == 1) {
      const std::span<const float> block = readers[0]->Next(wanted, scratch_);
      if (block.empty()) return;
      take(at, block);
      at += block.size();
      continue;
    }
    const std::span<float> sum = std::span(sum_).first(wanted);
    kernels::Zero(sum);
    for (size_t i = 0; i < gradients.size(); ++i) {
      for (size_t filled = 0; filled < sum.size();) {
        const std::span<const float> block = readers[i]->Next(sum.size() - filled, scratch_);
        if (block.empty()) break;
        kernels::Axpy(gradients[i].weight, block, sum.subspan(filled, block.size()));
        filled += block.size();
      }
    }
    take(at, sum);
    at += sum.size();
  }
}

void Table::Apply(Part& part, kernels::Hyper hyper, std::span<const Gradient> gradients) {
  hyper.update = ++part.version;
  ForEachSum(part, gradients, [&](size_t at, std::span<const float> block) { Update(part, hyper, at, block); });
}

void Table::Apply(Part& part, kernels::Hyper hyper, const Message& gradient, const Compensation& compensation) {
  hyper.update = ++part.version;
  then_.resize(kBlockElements);
  PayloadReader then(*compensation.then);
  const Gradient one{&gradient, 1};
  ForEachSum(part, {&one, 1}, [&](size_t at, std::span<const float> block) {
    const std::span<float> values = std::span(then_).first(block.size());
    then.Read(std::as_writable_bytes(values));
    const std::span<float> made_up = std::span(sum_).first(block.size());
    for (size_t i = 0; i < block.size(); ++i) {
      const float g = block[i];
      made_up[i] = g + compensation.factor * g * g * (part.values[at + i] - values[i]);
    }
    Update(part, hyper, at, made_up);
  });
}

void Table::Replace(Part& part, std::span<const Gradient> values) {
  ++part.version;
  ForEachSum(part, values, [&](size_t at, std::span<const float> block) {
    std::copy(block.begin(), block.end(), part.values.begin() + at);
  });
}

void Table::Add(Part& part, std::span<const Gradient> differences) {
  ++part.version;
  ForEachSum(part, differences, [&](size_t at, std::span<const float> block) {
    kernels::Axpy(1, block, part.values.subspan(at, block.size()));
  });
}

const Payload& Table::Snapshot(Part& part) {
  if (part.snapshot.size() != 0 && part.snapshot_version == part.version) return part.snapshot;
  part.snapshot = Payload();
  BufferPool::Buffer buffer = pool_.Take();
  if (buffer.values.size() < part.values.size()) return part.snapshot;
  std::memcpy(buffer.values.data(), part.values.data(), part.values.size_bytes());
  part.snapshot =
      Payload(std::move(buffer.owner), std::span<const float>(buffer.values.first(part.values.size())));
  part.snapshot_version = part.version;
  return part.snapshot;
}

uint64_t Table::Checksum() const {
  uint64_t sum = 0;
  for (const Part& part : parts_) {
    const auto add = [&](uint64_t vector, const float* values) {
      for (size_t i = 0; i < part.values.size(); ++i) {
        const uint64_t where = (part.begin + i) * (kernels::kMaxSlots + 1) + vector;
        sum += Mix(where << 32 ^ where >> 32 ^ std::bit_cast<uint32_t>(values[i]));
      }
    };
    add(0, part.values.data());
    for (size_t i = 0; i < part.slots.size(); ++i) add(1 + i, part.slots[i]);
    sum += Hash({id_, part.index, part.set, part.version, part.clock});
    for (size_t i = 0; i < part.members.size(); ++i) {
      sum += Hash({id_, part.index, i, part.members[i].sequence, part.members[i].position,
                   part.views[i].clock, static_cast<uint64_t>(part.views[i].membership)});
    }
  }
  return sum;
}

}  // namespace downpour::ps
