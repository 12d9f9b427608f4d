#include "worker/channel.h"

#include <algorithm>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "proto/frame.h"
#include "proto/shard_map.h"

namespace downpour::worker {

uint64_t MessageLimit(const Job& job) {
  // Of control messages too: a shard map of many parts is not small.
  return std::max<uint64_t>(16 << 20, MostPayloadBytes(LargestPartBytes(job)) + kFrameHeaderBytes +
                                          kMaxContributors * kContributorBytes);
}

namespace {

grpc::ChannelArguments Arguments(const Job& job) {
  grpc::ChannelArguments arguments;
  const int limit = static_cast<int>(MessageLimit(job));
  arguments.SetMaxReceiveMessageSize(limit);
  arguments.SetMaxSendMessageSize(limit);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 8 << 20);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16 << 20);
  arguments.SetInt(GRPC_ARG_HTTP2_WRITE_BUFFER_SIZE, 4 << 20);
  // Each client has connections of its own, also where several live in one process.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return arguments;
}

}  // namespace

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, const Job& job) {
  grpc::ChannelArguments arguments = Arguments(job);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

std::shared_ptr<grpc::Channel> MakeHostChannel(const std::string& address, const Job& job) {
  grpc::ChannelArguments arguments = Arguments(job);
  const int half = static_cast<int>(std::max<uint32_t>(1, job.worker().lease_ms() / 2));
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2 * half);  // how long it may take to connect
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, half);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, half);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace downpour::worker
