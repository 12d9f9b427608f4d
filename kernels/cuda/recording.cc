#include <algorithm>
#include <vector>

#include "kernels/cuda/ops.h"

namespace downpour::kernels::cuda {
namespace {

// A CUDA graph for each key. The first time, work runs by itself, for libraries make things then that can't be
// recorded.
class CudaRecording final : public Recording {
 public:
  explicit CudaRecording(const Context& context) : context_(context) {}
  ~CudaRecording() override {
    context_.Wait();
    for (const Entry& entry : entries_) {
      if (entry.graph != nullptr) cudaGraphExecDestroy(entry.graph);
    }
  }

  void Run(std::span<const std::uintptr_t> key, absl::FunctionRef<void()> work) override {
    const auto found =
        std::ranges::find_if(entries_, [&](const Entry& entry) { return std::ranges::equal(entry.key, key); });
    if (found == entries_.end()) {
      if (entries_.size() < kMostEntries) entries_.push_back({{key.begin(), key.end()}});
      return work();
    }
    if (found->graph == nullptr) found->graph = Record(work);
    Check(cudaGraphLaunch(found->graph, context_.stream()), "running a recorded step");
  }

 private:
  static constexpr std::size_t kMostEntries = 8;

  struct Entry {
    std::vector<std::uintptr_t> key;
    cudaGraphExec_t graph = nullptr;  // none yet
  };

  cudaGraphExec_t Record(absl::FunctionRef<void()> work) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t made = nullptr;
    Check(cudaStreamBeginCapture(context_.stream(), cudaStreamCaptureModeThreadLocal), "recording a step");
    work();
    Check(cudaStreamEndCapture(context_.stream(), &graph), "recording a step");
    Check(cudaGraphInstantiate(&made, graph, 0), "recording a step");
    Check(cudaGraphDestroy(graph), "recording a step");
    return made;
  }

  const Context& context_;
  std::vector<Entry> entries_;
};

}  // namespace

std::unique_ptr<Recording> MakeRecording(const Context& context) { return std::make_unique<CudaRecording>(context); }

}  // namespace downpour::kernels::cuda
