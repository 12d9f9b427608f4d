// What the one worker that pushes for its host serves to the others there: the data plane's stream, of which it takes
// hello and raw pushes, and answers those.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "proto/frame.h"
#include "proto/service.grpc.pb.h"
#include "worker/combine/combiner.h"

namespace downpour::worker {

// Bytes from a peer never do more than end its stream.
class HostService final : public ParameterService::WithRawCallbackMethod_Exchange<ParameterService::Service> {
 public:
  struct Terms {
    uint64_t job = 0;  // JobId
    uint32_t map_version = 0;
    uint32_t workers = 0;
    std::vector<uint32_t> elements;  // by part
    uint64_t credit_bytes = 0;
    uint64_t most_region_bytes = 0;
    uint32_t most_pushes = 0;  // of one worker, unanswered
  };

  // `combiner` outlives it and the server that serves it.
  HostService(Terms terms, Combiner* combiner) : terms_(std::move(terms)), combiner_(combiner) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Exchange(grpc::CallbackServerContext*) override;

 private:
  const Terms terms_;
  Combiner* const combiner_;
};

// Why a push that a worker of the host hands over can't be one; OK where it can. `hello` is what its stream began with.
absl::Status CheckHandedOver(const HostService::Terms& terms, const FrameHeader& hello, const Message& push);

}  // namespace downpour::worker
