// A job's net, made of a Caffe net's layers one after the other.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "proto/job.pb.h"
#include "worker/formats/caffe.pb.h"
#include "worker/formats/job_names.h"
#include "worker/formats/mistakes.h"

namespace downpour::formats {

// A Caffe layer whose blobs are parameters of a job's layer.
struct CaffeBlobs {
  std::string caffe_layer;
  std::string layer;
  std::vector<std::string> tensors;  // the parameter that each blob is: "weight", "bias"; of a batch_norm, the last may be
                                     // "scale", by which running averages are to be divided
  bool may_lack_bias = false;        // there is none in the file, and it is 0
};

// What a net's layers of data say.
struct CaffeData {
  std::vector<std::uint32_t> shape;  // of one sample; empty where the text does not say it
  caffe::LayerParameter layer;       // the one that gives samples; empty where it is an input alone
  bool has_labels = false;
};

// One thread. Mistakes and notes are those of the layer that was begun last.
class CaffeBuilder {
 public:
  CaffeBuilder(const std::string& file, google::protobuf::RepeatedPtrField<Layer>* net);

  void Begin(const caffe::LayerParameter& layer, int line);

  // Adds a layer of this type to the job, whose inputs are the first `inputs` bottoms of the layer begun, and whose values
  // are its first top, if it has one. Null where a bottom is not there, which is a mistake then.
  Layer* Add(const std::string& type, int inputs);
  // As many inputs as there are bottoms.
  Layer* AddOfAll(const std::string& type);
  // The layer can't be added, which was told: whoever takes its tops is no further mistake.
  void Break();
  // A top that is the values of a bottom.
  void Alias(const std::string& top, const std::string& bottom);
  // The job's layer that makes a bottom, if one does and nothing but it takes these values so far.
  Layer* MakerOf(const std::string& bottom);
  void SetTop(const std::string& top, const std::string& layer);
  // From here on a layer has this top alone: those before are values that are not there any more, which it is a mistake to
  // take.
  void ReplaceTops(const std::string& top, const std::string& layer);

  // A top of the samples; one of labels.
  void SetSamples(const std::string& top);
  void SetLabels(const std::string& top);
  bool IsLabels(const std::string& bottom) const { return labels_.count(bottom) > 0; }

  void AddBlobs(const Layer& layer, std::vector<std::string> tensors, bool may_lack_bias = false);

  void Mistake(const std::string& what);
  // Of another line than where the layer begins.
  void MistakeAt(int line, const std::string& what) { mistakes_.Add(line, what); }
  // What is not in the job, though it was in the net.
  void Note(const std::string& what);

  const Mistakes& mistakes() const { return mistakes_; }
  const std::vector<std::string>& notes() const { return notes_; }
  const std::vector<CaffeBlobs>& blobs() const { return blobs_; }
  CaffeData& data() { return data_; }

 private:
  // Empty where nobody makes the bottom, which is a mistake, or only what is broken.
  std::string Resolve(const std::string& bottom);

  google::protobuf::RepeatedPtrField<Layer>& net_;
  Mistakes mistakes_;
  std::vector<std::string> notes_;
  std::vector<CaffeBlobs> blobs_;
  CaffeData data_;

  const caffe::LayerParameter* layer_ = nullptr;  // the one begun last
  int line_ = 0;
  std::map<std::string, std::string> makers_;  // of a blob: a job's layer, or the samples
  std::map<std::string, int> takers_;          // how many layers take the values of one
  std::map<std::string, std::string> replaced_;  // of a blob that is not there any more: what has taken it in
  std::set<std::string> labels_;
  JobNames names_;
};

}  // namespace downpour::formats
