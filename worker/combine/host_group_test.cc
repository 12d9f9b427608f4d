#include "worker/combine/host_group.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>
#include <vector>

#include "worker/channel.h"
#include "tests/support/temporary_folder.h"

namespace downpour::worker {
namespace {

using namespace std::chrono_literals;
using Catch::Matchers::Contains;

constexpr uint32_t kElements = 16;

Job MakeJob(uint32_t lease_ms = 20000) {
  Job job;
  job.set_name("job");
  job.set_workers(3);
  job.mutable_servers()->set_part_bytes(4096);
  job.mutable_worker()->set_lease_ms(lease_ms);
  return job;
}

FrameHeader HeaderOf(uint32_t worker, FrameKind kind = FrameKind::kPush) {
  FrameHeader header;
  header.kind = kind;
  header.job = JobId("job");
  header.map_version = 3;
  header.worker = worker;
  header.fence = 10 + worker;
  return header;
}

HostService::Terms TermsOf() {
  return {.job = JobId("job"),
          .map_version = 3,
          .workers = 3,
          .elements = {kElements},
          .credit_bytes = 1 << 20,
          .most_region_bytes = 1 << 20,
          .most_pushes = 2};
}

// A worker: what it would send to servers, and what became of its own pushes.
class Member final : public Combiner::Wire {
 public:
  Member(uint32_t worker, const std::string& path, std::shared_ptr<SharedRegion> region = nullptr,
         uint32_t lease_ms = 20000)
      : worker_(worker), job_(MakeJob(lease_ms)) {
    group = std::make_unique<HostGroup>(job_,
                                        HostGroup::Options{.path = path,
                                                           .hello = HeaderOf(worker, FrameKind::kHello),
                                                           .terms = TermsOf(),
                                                           .region = std::move(region),
                                                           .on_ack = [this](const Message& ack) { Keep(&acks_, ack); }},
                                        this);
  }

  FrameHeader HeaderFor(uint32_t part) override {
    FrameHeader header = HeaderOf(worker_);
    header.part = part;
    return header;
  }
  std::optional<Combiner::Waiting> WaitsUnder(uint32_t) override { return Combiner::Waiting::kForNobody; }
  bool encodes() const override { return false; }
  CodecId Encode(uint32_t, std::span<const float>, ByteBuffer*) override { return CodecId::kRaw; }
  void TakeBack(uint32_t, std::span<const float>, const Message&) override {}
  void Send(Message push) override { Keep(&sent_, push); }

  Message NextSent() { return Next(&sent_); }
  Message NextAck() { return Next(&acks_); }

 private:
  struct Kept {
    std::vector<Message> all;
    size_t read = 0;
  };
  void Keep(Kept* kept, const Message& message) {
    std::lock_guard lock(mutex_);
    kept->all.push_back(message);
    changed_.notify_all();
  }
  Message Next(Kept* kept) {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, 20s, [kept] { return kept->all.size() > kept->read; }));
    return kept->all[kept->read++];
  }

  const uint32_t worker_;
  const Job job_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Kept sent_;
  Kept acks_;

 public:
  std::unique_ptr<HostGroup> group;  // gone before what it calls
};

Message PushOf(uint32_t worker, uint64_t sequence, std::span<float> values, std::shared_ptr<const void> owner) {
  Message push{HeaderOf(worker), Payload(std::move(owner), std::span<const float>(values))};
  push.header.sequence = sequence;
  push.header.samples = 64;
  push.header.elements = kElements;
  push.header.payload_bytes = kElements * sizeof(float);
  return push;
}

Message PushOf(uint32_t worker, uint64_t sequence, float value) {
  auto values = std::make_shared<std::vector<float>>(kElements, value);
  return PushOf(worker, sequence, *values, values);
}

Message AckOf(const Message& push) {
  Message ack{push.header, {}};
  ack.header.kind = FrameKind::kAck;
  ack.header.version = 77;
  ack.header.payload_bytes = 0;
  ack.header.contributors = 0;
  return ack;
}

float FirstOf(const Message& message) {
  float first = 0;
  PayloadReader(message.payload).Read(std::as_writable_bytes(std::span(&first, 1)));
  return first;
}

void Await(Member* member, HostGroup::Role role) {
  for (int i = 0; i < 1000 && member->group->Meet() != role; ++i) std::this_thread::sleep_for(10ms);
  REQUIRE(member->group->Meet() == role);
}

TEST_CASE("the first of a host pushes for the second") {
  tests::TemporaryFolder folder;
  const std::string path = folder.path() + "/a.sock";
  Member first(0, path);
  Member second(1, path);
  REQUIRE(first.group->Meet() == HostGroup::Role::kLeads);
  Await(&second, HostGroup::Role::kFollows);
  REQUIRE(second.group->Send(PushOf(1, 5, 2.5f)));
  const Message sent = first.NextSent();
  CHECK(sent.header.worker == 0);
  REQUIRE(sent.contributors.size() == 1);
  CHECK(sent.contributors[0] == Contributor{1, 64, 11, 0, 5, 0, 0});
  CHECK(FirstOf(sent) == 2.5f);
  CHECK(first.group->OnAck(AckOf(sent)) == kElements * sizeof(float));
  const Message ack = second.NextAck();
  CHECK(ack.header.reason == Refusal::kNone);
  CHECK(ack.header.sequence == 5);
  CHECK(ack.header.version == 77);
  CHECK_FALSE(second.group->OnAck(AckOf(sent)).has_value());
}

TEST_CASE("gradients that lie in shared memory stay there") {
  auto made = SharedRegion::Create(1 << 16);
  REQUIRE(made.ok());
  const auto piece = (*made)->Take(kElements * sizeof(float));
  REQUIRE(piece.ok());
  const std::span<float> values(reinterpret_cast<float*>(piece->data()), kElements);
  tests::TemporaryFolder folder;
  Member first(0, folder.path() + "/a.sock");
  Member second(1, folder.path() + "/a.sock", *made);
  REQUIRE(first.group->Meet() == HostGroup::Role::kLeads);
  Await(&second, HostGroup::Role::kFollows);
  values[0] = 1;
  second.group->Send(PushOf(1, 1, values, *made));
  const Message sent = first.NextSent();
  CHECK(FirstOf(sent) == 1);
  first.group->OnAck(AckOf(sent));
  second.NextAck();
  // By now the first has mapped the region, so that the next is seen as it changes.
  values[0] = 2;
  second.group->Send(PushOf(1, 2, values, *made));
  const Message again = first.NextSent();
  CHECK(FirstOf(again) == 2);
  values[0] = 3;
  CHECK(FirstOf(again) == 3);
}

TEST_CASE("when the first is gone each sends what it had not answered, and another takes its place") {
  tests::TemporaryFolder folder;
  const std::string path = folder.path() + "/a.sock";
  auto first = std::make_unique<Member>(0, path);
  Member second(1, path);
  Member third(2, path);
  REQUIRE(first->group->Meet() == HostGroup::Role::kLeads);
  Await(&second, HostGroup::Role::kFollows);
  Await(&third, HostGroup::Role::kFollows);
  second.group->Send(PushOf(1, 1, 1));
  first->NextSent();
  first.reset();
  CHECK_FALSE(std::filesystem::exists(path));
  const Message ack = second.NextAck();
  CHECK(ack.header.reason == Refusal::kAlone);
  CHECK(ack.header.sequence == 1);
  Await(&second, HostGroup::Role::kLeads);
  // Until it has heard of it.
  while (third.group->Send(PushOf(2, 1, 4))) CHECK(third.NextAck().header.reason == Refusal::kAlone);
  Await(&third, HostGroup::Role::kFollows);
  REQUIRE(third.group->Send(PushOf(2, 2, 4)));
  CHECK(second.NextSent().contributors.size() == 1);
}

TEST_CASE("whoever listens and answers nobody is not waited for: another takes its place") {
  tests::TemporaryFolder folder;
  const std::string path = folder.path() + "/a.sock";
  const int mute = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  REQUIRE(bind(mute, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  REQUIRE(listen(mute, 10) == 0);
  Member member(0, path, nullptr, 200);
  Member second(1, path, nullptr, 200);
  CHECK(member.group->Meet() == HostGroup::Role::kAlone);
  CHECK_FALSE(member.group->Send(PushOf(0, 1, 1)));
  // One of them, though both have been left without an answer.
  CHECK(second.group->Meet() == HostGroup::Role::kAlone);
  Await(&member, HostGroup::Role::kLeads);
  Await(&second, HostGroup::Role::kFollows);
  close(mute);
}

TEST_CASE("one that was taken for dead leaves the socket to who took its place") {
  tests::TemporaryFolder folder;
  const std::string path = folder.path() + "/a.sock";
  Member first(0, path);
  REQUIRE(first.group->Meet() == HostGroup::Role::kLeads);
  std::filesystem::remove(path);  // as another would
  Member second(1, path);
  REQUIRE(second.group->Meet() == HostGroup::Role::kLeads);
  first.group->Close();
  Member third(2, path);
  Await(&third, HostGroup::Role::kFollows);
  REQUIRE(third.group->Send(PushOf(2, 1, 1)));
  CHECK(second.NextSent().contributors.size() == 1);
}

TEST_CASE("something else at the path is left alone") {
  tests::TemporaryFolder folder;
  const std::string path = folder.path() + "/a.sock";
  std::ofstream(path) << "kept";
  Member member(0, path);
  CHECK(member.group->Meet() == HostGroup::Role::kAlone);
  CHECK(std::filesystem::file_size(path) == 4);
}

TEST_CASE("a folder that others may enter is not used") {
  tests::TemporaryFolder folder;
  chmod(folder.path().c_str(), 0755);
  Member member(0, folder.path() + "/a.sock");
  CHECK(member.group->Meet() == HostGroup::Role::kAlone);
  CHECK_FALSE(member.group->Send(PushOf(0, 1, 1)));
}

TEST_CASE("a worker of another job is sent away") {
  tests::TemporaryFolder folder;
  const std::string path = folder.path() + "/a.sock";
  Member first(0, path);
  REQUIRE(first.group->Meet() == HostGroup::Role::kLeads);
  FrameHeader hello = HeaderOf(1, FrameKind::kHello);
  hello.job = 5;
  std::mutex mutex;
  std::condition_variable changed;
  absl::Status end;
  const Job job = MakeJob();
  ServerStream stream(MakeChannel("unix:" + path, job), hello, nullptr,
                      {.on_message = [](Message) {},
                       .on_end =
                           [&](absl::Status status) {
                             std::lock_guard lock(mutex);
                             end = std::move(status);
                             changed.notify_all();
                           }});
  std::unique_lock lock(mutex);
  REQUIRE(changed.wait_for(lock, 20s, [&] { return !end.ok(); }));
  CHECK_THAT(std::string(end.message()), Contains("no hello of this job"));
}

TEST_CASE("what is handed over is one worker's raw floats of a part that there is") {
  const HostService::Terms terms = TermsOf();
  const FrameHeader hello = HeaderOf(1, FrameKind::kHello);
  CHECK(CheckHandedOver(terms, hello, PushOf(1, 1, 1)).ok());
  const auto refused = [&](auto change) {
    Message push = PushOf(1, 1, 1);
    change(push);
    return !CheckHandedOver(terms, hello, push).ok();
  };
  CHECK(refused([](Message& m) { m.header.kind = FrameKind::kPull; }));
  CHECK(refused([](Message& m) { m.header.worker = 2; }));
  CHECK(refused([](Message& m) { m.header.job = 1; }));
  CHECK(refused([](Message& m) { m.header.map_version = 1; }));
  CHECK(refused([](Message& m) { m.header.sequence = 0; }));
  CHECK(refused([](Message& m) { m.header.part = 1; }));
  CHECK(refused([](Message& m) { m.header.table = 1; }));
  CHECK(refused([](Message& m) { m.header.elements = 15; }));
  CHECK(refused([](Message& m) { m.header.codec = CodecId::kInt8; }));
  CHECK(refused([](Message& m) { m.header.contributors = 1; }));
  CHECK(refused([](Message& m) { m.payload = {}; }));
}

TEST_CASE("jobs of other names, or with other servers, meet elsewhere") {
  Job a = MakeJob();
  Job b = a;
  CHECK(HostGroupPath(a) == HostGroupPath(b));
  b.set_name("other");
  CHECK(HostGroupPath(a) != HostGroupPath(b));
  b = a;
  b.mutable_servers()->add_addresses("127.0.0.1:4711");
  CHECK(HostGroupPath(a) != HostGroupPath(b));
}

}  // namespace
}  // namespace downpour::worker
