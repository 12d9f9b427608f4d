// Status inside, gRPC status outside: converted only where a call is made or answered. The codes have the same numbers.
#pragma once

#include <string>

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace downpour {

// Messages are cut to what fits a trailer.
inline grpc::Status ToGrpcStatus(const absl::Status& status) {
  constexpr size_t kMaxMessage = 4000;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message().substr(0, kMaxMessage)));
}

inline absl::Status FromGrpcStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace downpour
