#include "ps/service/control_service.h"

#include "proto/grpc_status.h"

namespace downpour::ps {

grpc::Status ControlServiceImpl::Register(grpc::ServerContext*, const RegisterRequest* request,
                                          RegisterReply* reply) {
  auto result = control_->Register(*request);
  if (!result.ok()) return ToGrpcStatus(result.status());
  *reply = *std::move(result);
  return grpc::Status::OK;
}

grpc::Status ControlServiceImpl::Heartbeat(grpc::ServerContext*, const HeartbeatRequest* request,
                                           HeartbeatReply* reply) {
  auto result = control_->Heartbeat(*request);
  if (!result.ok()) return ToGrpcStatus(result.status());
  *reply = *std::move(result);
  return grpc::Status::OK;
}

grpc::Status ControlServiceImpl::Change(grpc::ServerContext*, const ChangeRequest* request, ChangeReply*) {
  return ToGrpcStatus(control_->Change(*request));
}

grpc::Status ControlServiceImpl::Checkpoint(grpc::ServerContext*, const CheckpointRequest* request, CheckpointReply*) {
  return ToGrpcStatus(control_->Checkpoint(*request));
}

grpc::Status ControlServiceImpl::Restore(grpc::ServerContext*, const RestoreRequest* request, RestoreReply* reply) {
  auto result = control_->Restore(*request);
  if (!result.ok()) return ToGrpcStatus(result.status());
  *reply = *std::move(result);
  return grpc::Status::OK;
}

grpc::Status ControlServiceImpl::Leave(grpc::ServerContext*, const LeaveRequest* request, LeaveReply*) {
  return ToGrpcStatus(control_->Leave(*request));
}

grpc::Status ControlServiceImpl::Status(grpc::ServerContext*, const StatusRequest*, StatusReply* reply) {
  *reply = control_->Status();
  return grpc::Status::OK;
}

}  // namespace downpour::ps
