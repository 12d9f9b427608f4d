// Status inside, gRPC status outside: converted here and only at the edge.
#pragma once

#include <string>

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace downpour::ps {

// The codes have the same numbers. Messages are cut to what fits a trailer.
inline grpc::Status ToGrpcStatus(const absl::Status& status) {
  constexpr size_t kMaxMessage = 4000;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message().substr(0, kMaxMessage)));
}

}  // namespace downpour::ps
