// The control plane's edge: calls Control and turns its Status into gRPC's.
#pragma once

#include "proto/service.grpc.pb.h"
#include "ps/control.h"

namespace downpour::ps {

class ControlServiceImpl final : public ControlService::Service {
 public:
  // `control` outlives it.
  explicit ControlServiceImpl(Control* control) : control_(control) {}

  grpc::Status Register(grpc::ServerContext*, const RegisterRequest*, RegisterReply*) override;
  grpc::Status Heartbeat(grpc::ServerContext*, const HeartbeatRequest*, HeartbeatReply*) override;
  grpc::Status Change(grpc::ServerContext*, const ChangeRequest*, ChangeReply*) override;
  grpc::Status Checkpoint(grpc::ServerContext*, const CheckpointRequest*, CheckpointReply*) override;
  grpc::Status Restore(grpc::ServerContext*, const RestoreRequest*, RestoreReply*) override;
  grpc::Status Leave(grpc::ServerContext*, const LeaveRequest*, LeaveReply*) override;
  grpc::Status Status(grpc::ServerContext*, const StatusRequest*, StatusReply*) override;

 private:
  Control* const control_;
};

}  // namespace downpour::ps
