// The data plane's edge: one stream for each worker, of raw frames. It checks headers and posts to shards;
// what a frame does is theirs to say.
#pragma once

#include <cstdint>

#include "proto/service.grpc.pb.h"
#include "ps/control.h"
#include "ps/edge_stats.h"
#include "ps/log.h"
#include "ps/service/streams.h"

namespace downpour::ps {

class ParameterServiceImpl final
    : public ParameterService::WithRawCallbackMethod_Exchange<ParameterService::Service> {
 public:
  // All of them outlive it. `credit_bytes` is what one stream may have unacknowledged.
  ParameterServiceImpl(Control* control, Streams* streams, EdgeStats* stats, uint64_t credit_bytes, Log log)
      : control_(control),
        streams_(streams),
        stats_(stats),
        credit_bytes_(credit_bytes),
        log_(std::move(log)) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Exchange(
      grpc::CallbackServerContext*) override;

 private:
  Control* const control_;
  Streams* const streams_;
  EdgeStats* const stats_;
  const uint64_t credit_bytes_;
  const Log log_;
};

}  // namespace downpour::ps
