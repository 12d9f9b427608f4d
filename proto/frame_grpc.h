// Frames as gRPC carries them: raw messages whose slices are the header and the payload, which is never copied.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "absl/status/statusor.h"
#include "proto/frame.h"

namespace downpour {

// The full name of the data plane's method, for stubs that send raw messages.
inline constexpr char kExchangeMethod[] = "/downpour.ParameterService/Exchange";

// A frame of at most so many bytes may wait for the next one, where that is there already.
inline constexpr size_t kSmallFrameBytes = 4096;

// The gRPC message shares the payload's owner until it has left.
grpc::ByteBuffer ToByteBuffer(const Message& message);

// The payload shares the buffer's slices. InvalidArgument for what DecodeFrameHeader refuses, or where what follows
// the header is not as long as it says.
absl::StatusOr<Message> FromByteBuffer(const grpc::ByteBuffer& buffer);

}  // namespace downpour
