#include "worker/combine/host_group.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include <grpcpp/server_builder.h>
#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "proto/unix_socket.h"
#include "worker/channel.h"

namespace downpour::worker {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPause{1};  // before somebody is looked for again

// Makes the folder of a path if it has to, and makes sure that it is this user's alone.
absl::Status OwnFolder(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::UnavailableError(absl::StrCat("can't make ", folder, ": ", strerror(errno)));
  }
  struct stat found{};
  if (lstat(folder.c_str(), &found) != 0) {
    return absl::UnavailableError(absl::StrCat("can't look at ", folder, ": ", strerror(errno)));
  }
  if (!S_ISDIR(found.st_mode) || found.st_uid != geteuid() || (found.st_mode & 077) != 0) {
    return absl::UnavailableError(absl::StrCat(folder, " is not a folder of this user's alone. Remove it"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string HostGroupPath(const Job& job) {
  std::string whose = job.name();
  for (const std::string& address : job.servers().addresses()) absl::StrAppend(&whose, " ", address);
  return absl::StrCat("/tmp/downpour-", geteuid(), "/", absl::Hex(JobId(whose), absl::kZeroPad16), ".sock");
}

HostGroup::HostGroup(const Job& job, Options options, Combiner::Wire* wire)
    : job_(job), options_(std::move(options)), wire_(wire) {}

HostGroup::~HostGroup() { Close(); }

HostGroup::Role HostGroup::Meet() {
  std::lock_guard meeting(meeting_);
  if (closed_) return Role::kAlone;
  {
    std::lock_guard lock(mutex_);
    if (combiner_ != nullptr) return Role::kLeads;
    if (follows_) return Role::kFollows;
    if (looks_) return Role::kAlone;
  }
  if (Clock::now() < next_try_) return Role::kAlone;
  next_try_ = Clock::now() + kPause;
  EndLeader();
  absl::Status status = OwnFolder(options_.path);
  if (status.ok()) status = Lead();
  if (status.ok()) return Role::kLeads;
  if (absl::IsAlreadyExists(status)) {
    Follow();
  } else if (warned_ != status.message()) {
    warned_ = std::string(status.message());
    spdlog::warn("its gradients are not combined with those of others here: {}", warned_);
  }
  return Role::kAlone;
}

bool HostGroup::Send(const Message& push) {
  std::lock_guard meeting(meeting_);
  std::shared_ptr<Combiner> combiner;
  {
    std::lock_guard lock(mutex_);
    combiner = combiner_;
    if (combiner == nullptr) {
      if (!follows_) return false;
      handed_over_[{push.header.part, push.header.sequence}] = push.header;
    }
  }
  if (combiner == nullptr) {
    leader_->Send(push);
  } else {
    combiner->Add({.push = push, .answer = options_.on_ack, .member = Combiner::kOwn});
  }
  return true;
}

absl::Status HostGroup::Lead() {
  const SocketClaim claim = LockSocketFolder(options_.path);
  {
    std::lock_guard lock(mutex_);
    const bool mute = std::exchange(unanswered_, false) && SocketThere() == looked_at_;
    const absl::Status found = LookAtSocketPath(options_.path);
    if (!found.ok() && !(mute && absl::IsAlreadyExists(found))) {
      return absl::Status(found.code(), absl::StrCat(options_.path, ": ", found.message()));
    }
  }
  RemoveDeadSockets(std::filesystem::path(options_.path).parent_path().string());
  auto combiner = std::make_shared<Combiner>(options_.terms.elements, wire_);
  service_ = std::make_unique<HostService>(options_.terms, combiner.get());
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(absl::StrCat("unix:", options_.path), grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(static_cast<int>(MessageLimit(job_)));
  // The others ask whether it runs (MakeHostChannel).
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  // And it whether they do.
  const int half = static_cast<int>(std::max<uint32_t>(1, job_.worker().lease_ms() / 2));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, half);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, half);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) return absl::UnavailableError(absl::StrCat("can't listen on unix:", options_.path));
  own_ = SocketThere();
  spdlog::info("pushes for the workers of this host, which find it at unix:{}", options_.path);
  std::lock_guard lock(mutex_);
  combiner_ = std::move(combiner);
  return absl::OkStatus();
}

void HostGroup::Follow() {
  {
    std::lock_guard lock(mutex_);
    looks_ = true;
    looked_at_ = SocketThere();
  }
  leader_ = std::make_unique<ServerStream>(
      MakeHostChannel(absl::StrCat("unix:", options_.path), job_), options_.hello, options_.region,
      ServerStream::Callbacks{
          .on_message =
              [this](Message message) {
                if (message.header.kind == FrameKind::kWelcome) {
                  spdlog::info("hands its gradients to the worker of this host at unix:{}", options_.path);
                  std::lock_guard lock(mutex_);
                  looks_ = false;
                  follows_ = true;
                }
                if (message.header.kind != FrameKind::kAck) return;
                uint64_t bytes = 0;
                {
                  std::lock_guard lock(mutex_);
                  const auto found = handed_over_.find({message.header.part, message.header.sequence});
                  if (found == handed_over_.end()) return;
                  bytes = found->second.payload_bytes;
                  handed_over_.erase(found);
                }
                leader_->Acknowledged(bytes);
                options_.on_ack(std::move(message));
              },
          .on_end = [this](absl::Status status) { OnLeaderLost(status); },
      });
}

void HostGroup::OnLeaderLost(const absl::Status& why) {
  std::lock_guard lock(mutex_);
  const bool found = !std::exchange(looks_, false);
  // Somebody who listens and does not run, or had no time for a lease.
  unanswered_ = !found && absl::IsUnavailable(why);
  follows_ = false;
  if (!found) {
    spdlog::info("no worker answers at unix:{} ({})", options_.path, std::string(why.message()));
  } else if (handed_over_.empty()) {
    spdlog::info("the worker that pushed for this host has ended");
  } else {
    spdlog::info("the worker that pushed for this host is gone ({}); {} parts of pushes are sent again",
                 std::string(why.message()), handed_over_.size());
  }
  // Before anything that comes later: a push behind the next one counts as sent twice.
  for (const auto& [key, header] : std::exchange(handed_over_, {})) options_.on_ack(AckFor(header, Refusal::kAlone, 0));
}

std::optional<uint64_t> HostGroup::OnAck(const Message& ack) {
  std::shared_ptr<Combiner> combiner;
  {
    std::lock_guard lock(mutex_);
    combiner = combiner_;
  }
  return combiner == nullptr ? std::nullopt : combiner->OnAck(ack);
}

HostGroup::SocketId HostGroup::SocketThere() const {
  struct stat found{};
  if (lstat(options_.path.c_str(), &found) != 0) return {};
  return {static_cast<int64_t>(found.st_ino), found.st_mtim.tv_sec, found.st_mtim.tv_nsec};
}

void HostGroup::EndLeader() {
  if (leader_ != nullptr) leader_->Close();
  leader_.reset();
}

void HostGroup::Close() {
  std::lock_guard meeting(meeting_);
  closed_ = true;
  EndLeader();
  std::shared_ptr<Combiner> combiner;
  {
    std::lock_guard lock(mutex_);
    looks_ = false;
    follows_ = false;
    combiner = std::move(combiner_);
  }
  if (server_ != nullptr) {
    // It removes what has its path, which is another's where this one was taken for dead.
    const SocketClaim claim = LockSocketFolder(options_.path);
    const std::string aside = absl::StrCat(options_.path, ".", getpid());
    const bool others = SocketThere() != own_ && rename(options_.path.c_str(), aside.c_str()) == 0;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
    if (others) rename(aside.c_str(), options_.path.c_str());
  }
  service_.reset();
}

}  // namespace downpour::worker
