#include "tools/ps_ctl/predict_command.h"

#include <algorithm>
#include <iostream>
#include <optional>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kernels/aligned_buffer.h"
#include "kernels/device.h"
#include "proto/transforms.h"
#include "worker/data/batcher.h"
#include "worker/data/format.h"
#include "worker/formats/model_files.h"
#include "worker/net.h"

namespace downpour::ctl {
namespace {

using nlohmann::ordered_json;

constexpr int kBatch = 64;

// Where a model's parameters lie in a net's flat vector.
kernels::AlignedBuffer Placed(const formats::Model& model, const worker::Net& net) {
  kernels::AlignedBuffer placed(net.parameter_count());
  for (std::size_t i = 0; i < net.parameters().size(); ++i) {
    const auto from = model.values.begin() + static_cast<std::ptrdiff_t>(model.outline.parameters[i].offset);
    std::copy_n(from, net.parameters()[i].size, placed.data() + net.parameters()[i].offset);
  }
  return placed;
}

// The values of a layer, sample by sample.
class PredictCommand final : public Command {
 public:
  explicit PredictCommand(CLI::App* flags) {
    flags->add_option("model", source_.paths, std::string("What there is: ") + formats::kReadableFiles)->required();
    flags->add_option("--images", images_, "The samples; default: the job's data.test");
    flags->add_option("--labels", labels_, "What is right, to tell how often the net says so");
    flags->add_option("--format", format_, "Of the samples, as data.format; default: the job's");
    flags->add_option("--layer", layer_, "Whose values to give; default: the last before the loss");
    flags->add_option("--limit", limit_, "Only the first so many samples")->check(CLI::PositiveNumber);
    flags->add_option("--shape", source_.shape, "Sides of a sample, where the net does not say them: 3,32,32")
        ->delimiter(',');
    flags->add_flag("--json", json_, "A line of JSON for each sample");
  }

  Exit Run() override {
    const absl::Status status = Predict();
    return status.ok() ? Exit::kDone : Fail(status);
  }

 private:
  absl::Status Predict() {
    const auto model = formats::ReadModelFiles(source_);
    if (!model.ok()) return model.status();
    if (model->values.empty()) {
      return absl::InvalidArgumentError("a net without its parameters; name the file that has them too");
    }
    const auto job = formats::CompleteJob(*model);
    if (!job.ok()) return job.status();
    const auto device = kernels::MakeDevice("cpu", {.threads = static_cast<int>(job->worker().threads())});
    if (!device.ok()) return device.status();
    const auto net = worker::Net::Create(job->net(), NetShape(job->data()), kBatch, **device);
    if (!net.ok()) return net.status();
    const auto output = OutputOf(**net);
    if (!output.ok()) return output.status();
    const auto samples = Samples(*job, **net);
    if (!samples.ok()) return samples.status();
    return Answer(**net, Placed(*model, **net), *output, *samples, worker::Transform(job->data()), TellerOf(*job, **net, *output));
  }

  absl::StatusOr<std::size_t> OutputOf(const worker::Net& net) const {
    if (layer_.empty()) {
      if (net.scores()) return *net.scores();
      return absl::InvalidArgumentError("the net's last loss takes the samples: there are no scores");
    }
    const auto found = std::ranges::find(net.outputs(), layer_, &worker::Net::Output::layer);
    if (found != net.outputs().end()) return static_cast<std::size_t>(found - net.outputs().begin());
    return absl::InvalidArgumentError(absl::StrCat(
        "the net has no layer ", layer_, " with values; it has ",
        absl::StrJoin(net.outputs(), ", ", [](std::string* out, const worker::Net::Output& o) { out->append(o.layer); })));
  }

  absl::StatusOr<worker::SampleStore> Samples(const Job& job, const worker::Net& net) {
    const std::string& format = format_.empty() ? job.data().format() : format_;
    if (images_.empty()) {
      images_ = job.data().test().images();
      if (labels_.empty()) labels_ = job.data().test().labels();
    }
    if (images_.empty()) return absl::InvalidArgumentError("no samples; --images names them");
    labelled_ = !labels_.empty() || !worker::LabelsAreApart(format);
    return worker::ReadSamples(format, {.images = images_,
                                        .labels = labels_,
                                        .labelled = labelled_,
                                        .shape = {job.data().shape().begin(), job.data().shape().end()},
                                        .classes = net.classes(),
                                        .limit = limit_});
  }

  // How values tell a class.
  enum class Teller { kNone, kLargest, kSign };

  // There is a class where the last loss scores each, or two by the sign of one score.
  Teller TellerOf(const Job& job, const worker::Net& net, std::size_t output) const {
    if (!layer_.empty() || net.classes() == 0 || job.net().rbegin()->type() == "contrastive_loss") return Teller::kNone;
    const std::size_t values = net.outputs()[output].shape.size();
    if (values == static_cast<std::size_t>(net.classes())) return Teller::kLargest;
    return values == 1 && net.classes() == 2 ? Teller::kSign : Teller::kNone;
  }

  static std::ptrdiff_t ClassOf(Teller teller, std::span<const float> row) {
    return teller == Teller::kSign ? row[0] > 0 : std::ranges::max_element(row) - row.begin();
  }

  // As training counts: a class is among the `top_k` likeliest.
  static bool IsRight(Teller teller, std::span<const float> row, std::int64_t label, int top_k) {
    if (teller == Teller::kSign) return ClassOf(teller, row) == label;
    const float own = row[static_cast<std::size_t>(label)];
    int before = 0;  // of equals the first; a NaN is before any other, and never right itself
    for (std::int64_t k = 0; k < std::ssize(row); ++k) {
      const float score = row[static_cast<std::size_t>(k)];
      before += k < label ? !(score < own) : k > label && !(score <= own);
    }
    return own == own && before < top_k;
  }

  absl::Status Answer(worker::Net& net, const kernels::AlignedBuffer& parameters, std::size_t output,
                      const worker::SampleStore& samples, const worker::Transform& transform, Teller teller) const {
    worker::Batcher batcher(samples, transform, {.batch_size = kBatch, .shuffle = false});
    const bool classes = teller != Teller::kNone;
    const std::size_t values = net.outputs()[output].shape.size();
    std::uint64_t sample = 0, right = 0;
    for (worker::Batch batch; batcher.Next(&batch);) {
      net.Infer({parameters.data(), parameters.size()}, batch.size, batch.features);
      const std::span<const float> all = net.ValuesOf(output);
      for (int i = 0; i < batch.size; ++i, ++sample) {
        const std::span<const float> row = all.subspan(static_cast<std::size_t>(i) * values, values);
        if (classes && labelled_) {
          right += IsRight(teller, row, batch.targets.classes[static_cast<std::size_t>(i)], net.top_k());
        }
        Show(sample, classes ? std::optional(ClassOf(teller, row)) : std::nullopt, row);
      }
    }
    if (absl::Status status = batcher.status(); !status.ok()) return status;
    if (classes && labelled_ && sample > 0) {
      std::cerr << absl::StrFormat("%d of %d right, %.2f %%\n", right, sample,
                                   100.0 * static_cast<double>(right) / static_cast<double>(sample));
    }
    return absl::OkStatus();
  }

  void Show(std::uint64_t sample, std::optional<std::ptrdiff_t> likeliest, std::span<const float> values) const {
    if (json_) {
      ordered_json line = {{"sample", sample}};
      if (likeliest) line["class"] = *likeliest;
      line["values"] = std::vector<float>(values.begin(), values.end());
      std::cout << line.dump() << "\n";
      return;
    }
    std::string line = absl::StrCat(sample);
    if (likeliest) absl::StrAppend(&line, " ", *likeliest);
    for (const float value : values) absl::StrAppendFormat(&line, " %.6g", value);
    std::cout << line << "\n";
  }

  formats::ModelSource source_;
  std::string images_, labels_, format_, layer_;
  std::uint64_t limit_ = 0;
  bool json_ = false;
  bool labelled_ = false;
};

}  // namespace

std::unique_ptr<Command> MakePredictCommand(CLI::App* flags) { return std::make_unique<PredictCommand>(flags); }

}  // namespace downpour::ctl
