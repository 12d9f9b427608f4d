#include "bench/wire_link.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/vector_ops.h"
#include "proto/codec/part_encoder.h"

namespace downpour::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kAnswer = std::chrono::seconds(20);

double Seconds(Clock::time_point since) { return std::chrono::duration<double>(Clock::now() - since).count(); }

}  // namespace

absl::StatusOr<std::unique_ptr<WireLink>> WireLink::Open(const Job& job, std::uint32_t partition,
                                                         std::uint64_t elements, std::shared_ptr<SharedRegion> region) {
  TableSpec table;
  table.set_elements(elements);
  TensorSpec* const tensor = table.add_tensors();
  tensor->set_name("all");
  tensor->add_shape(elements);
  const auto registration = worker::Register(job, {.partition = partition}, table, {});
  if (!registration.ok()) return registration.status();
  std::unique_ptr<WireLink> link(new WireLink(job, partition, elements, *registration, std::move(region)));
  if (absl::Status status = link->SetInitial(registration->unset_parts); !status.ok()) return status;
  return link;
}

WireLink::WireLink(const Job& job, std::uint32_t partition, std::uint64_t elements,
                   const worker::Registration& registration, std::shared_ptr<SharedRegion> region)
    : job_(job),
      map_(registration.map),
      partition_(partition),
      fence_(registration.servers[0].fence),
      region_(std::move(region)),
      gradient_(std::make_shared<worker::ExchangedVector>(elements, region_)),
      parameters_(elements, region_) {
  std::fill_n(gradient_->data(), elements, 1e-3f);
  kernels::Zero({parameters_.data(), elements});
  stream_ = std::make_unique<worker::ServerStream>(
      registration.servers[0].channel, HeaderFor(FrameKind::kHello, 0), region_,
      worker::ServerStream::Callbacks{.on_message = [this](Message message) { OnMessage(message); },
                                      .on_end =
                                          [this](absl::Status status) {
                                            std::lock_guard lock(mutex_);
                                            failure_ = std::move(status);
                                            answered_.notify_all();
                                          }});
}

WireLink::~WireLink() { stream_->Close(); }

FrameHeader WireLink::HeaderFor(FrameKind kind, std::uint32_t part) const {
  FrameHeader header;
  header.kind = kind;
  header.job = JobId(job_.name());
  header.map_version = map_.version();
  header.part = part;
  header.worker = partition_;
  header.fence = fence_;
  return header;
}

void WireLink::Send(FrameKind kind, std::uint32_t part, std::uint64_t number) {
  const ShardMap::Part& range = map_.tables(0).parts(static_cast<int>(part));
  const std::size_t elements = range.end() - range.begin();
  if (kind != FrameKind::kPull) {
    const std::span<const float> values(gradient_->data() + range.begin(), elements);
    return SendValues(kind, part, number, CodecId::kRaw, Payload(gradient_, values));
  }
  Message message{HeaderFor(kind, part), {}};
  message.header.sequence = number;
  message.payload = Payload(region_, std::span<const float>(parameters_.data() + range.begin(), elements));
  stream_->Send(std::move(message));
}

void WireLink::SendValues(FrameKind kind, std::uint32_t part, std::uint64_t number, CodecId codec, Payload payload) {
  const ShardMap::Part& range = map_.tables(0).parts(static_cast<int>(part));
  Message message{HeaderFor(kind, part), std::move(payload)};
  message.header.sequence = number;
  message.header.clock = number - 1;
  message.header.samples = 1;
  message.header.codec = codec;
  message.header.elements = static_cast<std::uint32_t>(range.end() - range.begin());
  message.header.payload_bytes = static_cast<std::uint32_t>(message.payload.size());
  {
    std::lock_guard lock(mutex_);
    costs_.push_back(message.header.payload_bytes);
  }
  stream_->Send(std::move(message));
}

absl::Status WireLink::SetInitial(const std::vector<std::uint32_t>& unset) {
  for (const std::uint32_t part : unset) {
    {
      std::lock_guard lock(mutex_);
      ++pushed_.sent;
    }
    Send(FrameKind::kSet, part, 1);
  }
  return Await(pushed_, 0);
}

void WireLink::OnMessage(const Message& message) {
  const FrameHeader& header = message.header;
  if (header.kind == FrameKind::kWelcome) {
    if (region_ == nullptr || header.place == PayloadPlace::kShared) return;
    std::lock_guard lock(mutex_);
    failure_ = absl::UnavailableError("the server has not mapped the shared memory");
    return answered_.notify_all();
  }
  const bool known = header.part < parts();
  const ShardMap::Part& range = map_.tables(0).parts(known ? static_cast<int>(header.part) : 0);
  const std::size_t elements = range.end() - range.begin();
  const bool values = header.kind == FrameKind::kValues && header.elements == elements;
  const bool taken = header.kind == FrameKind::kAck && header.reason == Refusal::kNone;
  if (values && known) {
    const auto to = std::as_writable_bytes(std::span(parameters_.data() + range.begin(), elements));
    const bool there = !message.payload.chunks().empty() && message.payload.chunks().front().data() == to.data();
    if (!there) PayloadReader(message.payload).Read(to);
  }
  std::unique_lock lock(mutex_);
  if (taken && !costs_.empty()) {
    const std::uint64_t cost = costs_.front();
    costs_.pop_front();
    lock.unlock();
    stream_->Acknowledged(cost);
    lock.lock();
  }
  if (!known || !(values || taken)) {
    failure_ = absl::InternalError(absl::StrCat("the server answered ", std::string(FrameKindName(header.kind)), ", ",
                                                std::string(RefusalName(header.reason))));
  }
  ++(values ? pulled_ : pushed_).answered;
  answered_.notify_all();
}

absl::Status WireLink::Await(const Counted& counted, std::uint64_t unanswered) {
  std::unique_lock lock(mutex_);
  const bool came = answered_.wait_for(lock, kAnswer,
                                       [&] { return !failure_.ok() || counted.sent - counted.answered <= unanswered; });
  if (!failure_.ok()) return failure_;
  return came ? absl::OkStatus() : absl::DeadlineExceededError("the server does not answer");
}

absl::Status WireLink::SendTable(FrameKind kind, Counted* counted, std::uint32_t under_way) {
  const std::uint64_t number = ++(kind == FrameKind::kPush ? pushes_ : pulls_);
  for (std::uint32_t part = 0; part < parts(); ++part) {
    if (absl::Status status = Begin(counted, under_way); !status.ok()) return status;
    Send(kind, part, number);
  }
  return absl::OkStatus();
}

absl::Status WireLink::Begin(Counted* counted, std::uint32_t under_way) {
  if (absl::Status status = Await(*counted, std::uint64_t{under_way} * parts() - 1); !status.ok()) return status;
  std::lock_guard lock(mutex_);
  ++counted->sent;
  return absl::OkStatus();
}

absl::StatusOr<double> WireLink::Rate(FrameKind kind, Counted* counted, double seconds, std::uint32_t under_way) {
  const auto begun = Clock::now();
  std::uint64_t tables = 0;
  for (; Seconds(begun) < seconds; ++tables) {
    if (absl::Status status = SendTable(kind, counted, under_way); !status.ok()) return status;
  }
  if (absl::Status status = Await(*counted, 0); !status.ok()) return status;
  return static_cast<double>(tables * parameters_.size() * sizeof(float)) / Seconds(begun);
}

absl::StatusOr<double> WireLink::PushRate(double seconds, std::uint32_t under_way) {
  return Rate(FrameKind::kPush, &pushed_, seconds, under_way);
}

absl::StatusOr<double> WireLink::SparsePushRate(double seconds, std::uint32_t under_way, std::uint32_t rows,
                                                std::uint32_t width) {
  const std::span<float> gradient(gradient_->data(), gradient_->size());
  kernels::Zero(gradient);
  std::mt19937_64 random(7);
  const std::uint64_t places = gradient.size() / width;
  for (std::uint32_t chosen = 0; chosen < std::min<std::uint64_t>(rows, places);) {
    const auto row = gradient.subspan(random() % places * width, width);
    if (row[0] != 0) continue;
    std::ranges::fill(row, 1e-3f);
    ++chosen;
  }
  std::vector<std::unique_ptr<PartEncoder>> encoders;
  for (const ShardMap::Part& part : map_.tables(0).parts()) {
    PartLayout layout;
    layout.elements = static_cast<std::uint32_t>(part.end() - part.begin());
    encoders.push_back(std::make_unique<PartEncoder>(kSparseCodec, CodecSettings(), std::move(layout), false, 0));
  }
  std::vector<std::shared_ptr<ByteBuffer>> buffers((under_way + 2) * parts());
  for (auto& buffer : buffers) buffer = std::make_shared<ByteBuffer>();
  const auto begun = Clock::now();
  std::uint64_t tables = 0;
  for (; Seconds(begun) < seconds; ++tables) {
    ++pushes_;
    for (std::uint32_t part = 0; part < parts(); ++part) {
      if (absl::Status status = Begin(&pushed_, under_way); !status.ok()) return status;
      // One that the transport has let go.
      auto buffer = buffers.begin();
      while (buffer->use_count() > 1) {
        if (++buffer == buffers.end()) buffer = buffers.begin();
      }
      std::atomic_thread_fence(std::memory_order_acquire);
      const ShardMap::Part& range = map_.tables(0).parts(static_cast<int>(part));
      encoders[part]->Encode(gradient.subspan(range.begin(), range.end() - range.begin()), buffer->get());
      SendValues(FrameKind::kPush, part, pushes_, CodecId::kSparse,
                 Payload(*buffer, std::vector<Payload::Bytes>{(*buffer)->bytes()}));
    }
  }
  if (absl::Status status = Await(pushed_, 0); !status.ok()) return status;
  return static_cast<double>(tables) * rows / Seconds(begun);
}

absl::StatusOr<double> WireLink::PullRate(double seconds, std::uint32_t under_way) {
  return Rate(FrameKind::kPull, &pulled_, seconds, under_way);
}

absl::StatusOr<std::vector<double>> WireLink::PullTimes(int count) {
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    const auto begun = Clock::now();
    if (absl::Status status = SendTable(FrameKind::kPull, &pulled_, 1); !status.ok()) return status;
    if (absl::Status status = Await(pulled_, 0); !status.ok()) return status;
    times.push_back(Seconds(begun));
  }
  return times;
}

}  // namespace downpour::bench
