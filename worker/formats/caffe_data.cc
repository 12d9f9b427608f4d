#include "worker/formats/caffe_data.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace downpour::formats {
namespace {

// The sides after the first, which counts the samples.
std::vector<std::uint32_t> SampleSides(CaffeBuilder& builder, const caffe::BlobShape& shape) {
  std::vector<std::uint32_t> sides;
  for (int i = 1; i < shape.dim_size(); ++i) {
    const std::int64_t side = shape.dim(i);
    if (side < 1 || side > std::numeric_limits<std::uint16_t>::max()) {
      builder.Mistake(absl::StrCat("a side of ", side));
      return {};
    }
    sides.push_back(static_cast<std::uint32_t>(side));
  }
  return sides;
}

caffe::BlobShape FourSides(std::int64_t num, std::int64_t channels, std::int64_t height, std::int64_t width) {
  caffe::BlobShape shape;
  for (const std::int64_t side : {num, channels, height, width}) shape.add_dim(side);
  return shape;
}

// Of its tops; none where the text does not say.
std::vector<caffe::BlobShape> ShapesOf(const caffe::LayerParameter& layer) {
  std::vector<caffe::BlobShape> shapes;
  if (layer.has_input_param()) {
    for (int top = 0; top < layer.top_size() && layer.input_param().shape_size() > 0; ++top) {
      shapes.push_back(layer.input_param().shape(std::min(top, layer.input_param().shape_size() - 1)));
    }
  } else if (layer.has_memory_data_param()) {
    const caffe::MemoryDataParameter& param = layer.memory_data_param();
    shapes.push_back(FourSides(param.batch_size(), param.channels(), param.height(), param.width()));
  } else if (layer.has_dummy_data_param()) {
    const caffe::DummyDataParameter& param = layer.dummy_data_param();
    for (const caffe::BlobShape& shape : param.shape()) shapes.push_back(shape);
    if (shapes.empty() && param.num_size() > 0 && param.channels_size() > 0 && param.height_size() > 0 &&
        param.width_size() > 0) {
      shapes.push_back(FourSides(param.num(0), param.channels(0), param.height(0), param.width(0)));
    }
  }
  return shapes;
}

std::uint32_t BatchOf(const caffe::LayerParameter& layer) {
  if (layer.has_data_param()) return layer.data_param().batch_size();
  if (layer.has_image_data_param()) return layer.image_data_param().batch_size();
  if (layer.has_memory_data_param()) return layer.memory_data_param().batch_size();
  return 0;
}

// What is done to samples, wherever the net says it: old ones do in the data's own section.
caffe::TransformationParameter TransformOf(const caffe::LayerParameter& layer) {
  caffe::TransformationParameter transform = layer.transform_param();
  const auto fill = [&transform](const auto& param) {
    if (param.has_scale()) transform.set_scale(param.scale());
    if (param.has_mean_file()) transform.set_mean_file(param.mean_file());
    if (param.has_crop_size()) transform.set_crop_size(param.crop_size());
    if (param.has_mirror()) transform.set_mirror(param.mirror());
  };
  if (layer.has_data_param()) fill(layer.data_param());
  if (layer.has_image_data_param()) fill(layer.image_data_param());
  return transform;
}

}  // namespace

void AddDataLayer(CaffeBuilder& builder, const caffe::LayerParameter& layer) {
  if (builder.data().layer.has_type()) return builder.Mistake("is a second layer of data; a net here has one");
  if (layer.top_size() == 0 || layer.top_size() > 2) {
    return builder.Mistake(absl::StrCat("has ", layer.top_size(), " tops; samples and labels are known"));
  }
  builder.data().layer = layer;
  builder.SetSamples(layer.top(0));
  if (layer.top_size() == 2) {
    builder.SetLabels(layer.top(1));
    builder.data().has_labels = true;
  }
  const auto shapes = ShapesOf(layer);
  if (!shapes.empty()) builder.data().shape = SampleSides(builder, shapes[0]);
}

void FillData(CaffeBuilder& builder, const std::string& test, Job* job) {
  const caffe::LayerParameter& layer = builder.data().layer;
  for (const std::uint32_t side : builder.data().shape) job->mutable_data()->add_shape(side);
  if (!layer.has_type()) return;
  builder.Begin(layer, 0);
  const caffe::TransformationParameter transform = TransformOf(layer);
  job->mutable_data()->set_scale(transform.scale());
  if (const std::uint32_t batch = BatchOf(layer); batch > 0) job->mutable_training()->set_batch(batch);
  for (const float mean : transform.mean_value()) job->mutable_data()->mutable_transforms()->add_mean(mean);
  if (transform.mirror()) job->mutable_data()->mutable_transforms()->set_mirror(true);
  std::vector<std::string> left_out;
  if (transform.has_mean_file()) left_out.push_back("mean_file");
  if (const std::uint32_t crop = transform.crop_size(); crop > 0) {
    // Where Caffe gives a shape at all it is that of what is cropped already.
    const std::vector<std::uint32_t>& shape = builder.data().shape;
    const bool larger = shape.size() == 3 && std::min(shape[1], shape[2]) > crop && !layer.has_memory_data_param();
    if (larger) {
      job->mutable_data()->mutable_transforms()->set_crop(crop);
    } else {
      left_out.push_back("crop_size");
    }
  }
  if (!left_out.empty()) builder.Note(absl::StrCat("left out: ", absl::StrJoin(left_out, ", ")));
  if (!layer.data_param().has_source()) return;
  if (layer.data_param().backend() != caffe::DataParameter::LMDB) {
    return builder.Note(absl::StrCat("its samples, ", layer.data_param().source().substr(0, 200),
                                     ", are left out: only LMDB is read"));
  }
  job->mutable_data()->set_format("lmdb");
  job->mutable_data()->mutable_train()->set_images(layer.data_param().source());
  if (!test.empty()) job->mutable_data()->mutable_test()->set_images(test);
}

}  // namespace downpour::formats
