// gRPC channels as workers have them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <grpcpp/channel.h>

#include "proto/job.pb.h"

namespace downpour::worker {

// The largest message that a job's workers and servers exchange, in bytes.
uint64_t MessageLimit(const Job& job);

// A channel of its own, which shares its connection with no other. Connects when it is first used.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, const Job& job);

// The same to another worker of this host, for one stream: it ends where that one does not answer for the time of a lease,
// for nobody else notices whether it runs.
std::shared_ptr<grpc::Channel> MakeHostChannel(const std::string& address, const Job& job);

}  // namespace downpour::worker
