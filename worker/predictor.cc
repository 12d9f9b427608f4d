#include "worker/predictor.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/aligned_buffer.h"
#include "kernels/device.h"
#include "proto/transforms.h"
#include "worker/data/frames.h"
#include "worker/data/transform.h"
#include "worker/model_file.h"
#include "worker/net.h"

namespace downpour::worker {
namespace {

class Predictor {
 public:
  Predictor(const PredictorOptions& options, Net* net, kernels::AlignedBuffer parameters, std::vector<std::size_t> outputs)
      : net_(*net),
        parameters_(std::move(parameters)),
        outputs_(std::move(outputs)),
        transform_(options.job.data()),
        batch_(options.batch),
        reader_(options.feed_fd),
        writer_(options.answer_fd),
        features_(batch_ * net->sample_size()) {}

  absl::Status Run() {
    if (absl::Status status = WriteSchema(); !status.ok()) return status;
    while (true) {
      const auto frame = reader_.Next();
      if (!frame.ok()) return frame.status();
      absl::Status status;
      switch (frame->kind) {
        case FrameReader::Kind::kSchema: status = ReadSchema(frame->length); break;
        case FrameReader::Kind::kBatch: status = Answer(frame->length); break;
        case FrameReader::Kind::kHeldOut: return reader_.Broken("is a held-out batch; nothing is trained here");
        case FrameReader::Kind::kEnd:
          status = reader_.ReadEnd(frame->length, rows_);
          return status.ok() ? writer_.WriteEnd() : status;
      }
      if (!status.ok()) return status;
    }
  }

 private:
  absl::Status WriteSchema() {
    std::vector<FeedTensor> tensors;
    for (const std::size_t output : outputs_) {
      const auto& [layer, shape] = net_.outputs()[output];
      tensors.push_back({.name = layer,
                         .type = TensorType::kF32,
                         .sides = {static_cast<std::uint32_t>(shape.channels), static_cast<std::uint32_t>(shape.height),
                                   static_cast<std::uint32_t>(shape.width)}});
    }
    return writer_.WriteSchema(tensors);
  }

  absl::Status ReadSchema(std::uint64_t length) {
    if (known_) return reader_.Broken("is a second schema");
    const auto tensors = reader_.ReadSchema(length);
    if (!tensors.ok()) return tensors.status();
    if (tensors->size() != 1 || tensors->front().name != "features") {
      return reader_.Broken("should have one tensor, called features");
    }
    fed_ = tensors->front();
    if (const std::string wrong = WrongFeatures(fed_, transform_.sample_size()); !wrong.empty()) return reader_.Broken(wrong);
    if (fed_.type == TensorType::kU8) {
      bytes_.resize(batch_ * transform_.sample_size());
    } else {
      floats_.resize(batch_ * transform_.sample_size());
    }
    known_ = true;
    return absl::OkStatus();
  }

  absl::Status Answer(std::uint64_t length) {
    if (!known_) return reader_.Broken("is a batch before the schema");
    const auto rows = reader_.ReadBatch(length, fed_.row_bytes());
    if (!rows.ok()) return rows.status();
    for (std::uint32_t done = 0; done < *rows;) {
      const std::uint32_t size = std::min<std::uint32_t>(batch_, *rows - done);
      if (absl::Status status = ReadFeatures(size); !status.ok()) return status;
      net_.Infer({parameters_.data(), parameters_.size()}, static_cast<int>(size), Features(size));
      std::vector<std::span<const std::byte>> values;
      for (const std::size_t output : outputs_) values.push_back(std::as_bytes(net_.ValuesOf(output)));
      if (absl::Status status = writer_.WriteBatch(size, values); !status.ok()) return status;
      rows_ += size;
      done += size;
    }
    return absl::OkStatus();
  }

  std::span<float> Features(std::uint32_t rows) { return {features_.data(), rows * net_.sample_size()}; }

  absl::Status ReadFeatures(std::uint32_t rows) {
    const std::size_t values = rows * transform_.sample_size();
    if (fed_.type == TensorType::kU8) {
      if (absl::Status status = reader_.ReadBytes(bytes_.data(), values); !status.ok()) return status;
      Apply<std::uint8_t>(bytes_, rows);
    } else {
      if (absl::Status status = reader_.ReadFloats(fed_, rows_, std::span(floats_).first(values)); !status.ok()) {
        return status;
      }
      Apply<float>(floats_, rows);
    }
    return absl::OkStatus();
  }

  template <typename Value>
  void Apply(std::span<const Value> samples, std::uint32_t rows) {
    const Transform::View view = transform_.Middle();
    for (std::uint32_t row = 0; row < rows; ++row) {
      transform_.Apply(samples.subspan(row * transform_.sample_size(), transform_.sample_size()), view,
                       Features(rows).subspan(row * transform_.size(), transform_.size()));
    }
  }

  Net& net_;
  const kernels::AlignedBuffer parameters_;
  const std::vector<std::size_t> outputs_;  // indices into net_.outputs()
  const Transform transform_;
  const std::uint32_t batch_;

  FrameReader reader_;
  FrameWriter writer_;
  kernels::AlignedBuffer features_;
  // A batch as it came, in its type.
  std::vector<std::uint8_t> bytes_;
  std::vector<float> floats_;
  bool known_ = false;  // the schema has come
  FeedTensor fed_;
  std::uint64_t rows_ = 0;  // answered
};

// Indices into net.outputs() of the layers of these names.
absl::StatusOr<std::vector<std::size_t>> Find(const Net& net, const std::vector<std::string>& layers) {
  const auto& outputs = net.outputs();
  if (outputs.empty()) return absl::InvalidArgumentError("the net has nothing but a loss: there are no values to give");
  std::vector<std::size_t> found;
  for (const std::string& layer : layers) {
    const auto at = std::find_if(outputs.begin(), outputs.end(), [&](const Net::Output& o) { return o.layer == layer; });
    if (at == outputs.end()) {
      const std::string known =
          absl::StrJoin(outputs, ", ", [](std::string* out, const Net::Output& o) { out->append(o.layer); });
      return absl::InvalidArgumentError(absl::StrCat("the net has no layer ", ShownName(layer), " with values; it has ", known));
    }
    if (std::find(found.begin(), found.end(), at - outputs.begin()) != found.end()) {
      return absl::InvalidArgumentError(absl::StrCat("layer ", layer, " is asked for twice"));
    }
    found.push_back(at - outputs.begin());
  }
  if (found.empty()) {
    if (!net.scores()) return absl::InvalidArgumentError("the net's last loss takes the samples: there are no scores");
    found.push_back(*net.scores());
  }
  return found;
}

}  // namespace

absl::Status Predict(const PredictorOptions& options) {
  const Job& job = options.job;
  const auto device = kernels::MakeDevice(job.worker().device(), {.threads = static_cast<int>(job.worker().threads())});
  if (!device.ok()) return device.status();
  const auto net = Net::Create(job.net(), NetShape(job.data()), options.batch, **device);
  if (!net.ok()) return net.status();
  auto outputs = Find(**net, options.layers);
  if (!outputs.ok()) return outputs.status();
  kernels::AlignedBuffer parameters((*net)->parameter_count());
  if (absl::Status status =
          ReadModel(options.model, (*net)->parameters(), {parameters.data(), parameters.size()});
      !status.ok()) {
    return status;
  }
  return Predictor(options, net->get(), std::move(parameters), *std::move(outputs)).Run();
}

}  // namespace downpour::worker
