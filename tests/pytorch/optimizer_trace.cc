// Trains numbers, not a net: the same random gradients, step after step, by one optimizer, in a table that lies in one
// part on one shard and in one whose parts lie on three. replay_optimizers_with_pytorch.py does the same with PyTorch.
//
//   optimizer_trace FOLDER SETTINGS      SETTINGS as in a job: '{name: adam, learning_rate: 0.01}'
//   optimizer_trace --list               the names of all optimizers
//
// Files, little-endian floats without headers: initial.f32 (the parameters), gradients.f32 (one after another),
// dense.f32 and split.f32 (the parameters after each step).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/job_config.h"
#include "proto/shard_map.h"
#include "ps/shard_core.h"
#include "worker/random.h"

namespace downpour {
namespace {

constexpr int kSteps = 50;
constexpr uint64_t kElements = 5000;
constexpr uint32_t kShards = 3;
constexpr uint64_t kPartBytes = 4096;

Payload Owned(std::span<const float> values) {
  auto owner = std::make_shared<std::vector<float>>(values.begin(), values.end());
  return Payload(owner, std::span<const float>(*owner));
}

// The shards of one server, fed with events as its edge would.
class Shards {
 public:
  Shards(const Job& job, uint32_t count, uint64_t part_bytes, std::span<const float> initial)
      : map_(MakeShardMap(kElements, 1, count, part_bytes)) {
    for (uint32_t i = 0; i < count; ++i) {
      shards_.push_back(*ps::ShardCore::Create(job));
      ps::CreateTable create{.ticket = 1};
      for (int p = 0; p < parts().size(); ++p) {
        if (parts()[p].shard() != i) continue;
        create.parts.push_back({static_cast<uint32_t>(p), parts()[p].begin(), parts()[p].end()});
      }
      Handle(i, create);
      Handle(i, ps::Join{.ticket = 2, .partition = 0, .fence = 1});
    }
    Send(FrameKind::kSet, 0, initial);
  }

  void Push(uint64_t step, std::span<const float> gradient) { Send(FrameKind::kPush, step, gradient); }

  std::vector<float> Values() const {
    std::vector<float> values(kElements);
    for (const auto& shard : shards_) {
      for (const ps::Table::Part& part : shard->table(0)->parts()) {
        std::copy(part.values.begin(), part.values.end(), values.begin() + part.begin);
      }
    }
    return values;
  }

 private:
  const google::protobuf::RepeatedPtrField<ShardMap::Part>& parts() const { return map_.tables(0).parts(); }

  void Handle(uint32_t shard, ps::Event event) {
    std::vector<ps::Action> actions;
    shards_[shard]->Handle(std::move(event), actions);
    for (const ps::Action& action : actions) {
      const auto* reply = std::get_if<ps::Reply>(&action);
      if (reply == nullptr || reply->message.header.reason == Refusal::kNone) continue;
      std::fprintf(stderr, "optimizer_trace: a shard refuses: %s\n",
                   std::string(RefusalName(reply->message.header.reason)).c_str());
      std::exit(EXIT_FAILURE);
    }
  }

  void Send(FrameKind kind, uint64_t step, std::span<const float> values) {
    for (int p = 0; p < parts().size(); ++p) {
      const ShardMap::Part& part = parts()[p];
      const std::span<const float> slice = values.subspan(part.begin(), part.end() - part.begin());
      Message message{.payload = Owned(slice)};
      message.header.kind = kind;
      message.header.part = p;
      message.header.fence = 1;
      message.header.clock = step;
      message.header.sequence = step + 1;
      message.header.samples = 1;
      message.header.elements = slice.size();
      message.header.payload_bytes = slice.size_bytes();
      if (kind == FrameKind::kSet) {
        Handle(part.shard(), ps::Set{{}, std::move(message)});
      } else {
        Handle(part.shard(), ps::Push{{}, std::move(message)});
      }
    }
  }

  const ShardMap map_;
  std::vector<std::unique_ptr<ps::ShardCore>> shards_;
};

bool Write(const std::string& path, const std::vector<float>& values) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(float)));
  return static_cast<bool>(out.flush());
}

int Main(const std::string& folder, const std::string& settings) {
  const absl::StatusOr<Job> job = ParseJob(absl::StrCat("name: trace\nworkers: 1\nsync: {mode: asp}\noptimizer: ",
                                                        settings, "\nnet: [{name: loss, type: softmax_loss}]\n"),
                                           "optimizer_trace");
  if (!job.ok()) {
    std::fprintf(stderr, "%s\n", std::string(job.status().message()).c_str());
    return EXIT_FAILURE;
  }
  worker::Random random(1);
  std::vector<float> initial(kElements), gradients(kSteps * kElements);
  for (float& value : initial) value = random.Symmetric();
  // Sizes from thousandths to tens, signs that change, and now and then nothing at all.
  for (uint64_t i = 0; i < gradients.size(); ++i) {
    const float size = (i % kElements) % 3 == 0 ? 0.01f : (i % kElements) % 3 == 1 ? 1.0f : 20.0f;
    gradients[i] = random.Below(20) == 0 ? 0 : size * (random.Symmetric() + 0.2f);
  }

  Shards dense(*job, 1, kElements * sizeof(float), initial), split(*job, kShards, kPartBytes, initial);
  std::vector<float> from_dense, from_split;
  for (int step = 0; step < kSteps; ++step) {
    const std::span<const float> gradient = std::span(gradients).subspan(step * kElements, kElements);
    for (auto [shards, to] : {std::pair(&dense, &from_dense), std::pair(&split, &from_split)}) {
      shards->Push(step, gradient);
      const std::vector<float> values = shards->Values();
      to->insert(to->end(), values.begin(), values.end());
    }
  }
  const bool written = Write(folder + "/initial.f32", initial) && Write(folder + "/gradients.f32", gradients) &&
                       Write(folder + "/dense.f32", from_dense) && Write(folder + "/split.f32", from_split);
  if (!written) std::fprintf(stderr, "optimizer_trace: cannot write to %s; is it a folder?\n", folder.c_str());
  return written ? EXIT_SUCCESS : EXIT_FAILURE;
}

int List() {
  for (const kernels::UpdateRule* rule : kernels::UpdateRules()) std::puts(std::string(rule->name).c_str());
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace downpour

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--list") return downpour::List();
  if (argc == 3) return downpour::Main(argv[1], argv[2]);
  std::fprintf(stderr, "usage: optimizer_trace FOLDER SETTINGS | --list\n");
  return EXIT_FAILURE;
}
