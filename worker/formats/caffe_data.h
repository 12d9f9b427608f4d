// Caffe's layers of data.
#pragma once

#include "worker/formats/caffe_builder.h"

namespace downpour::formats {

// Any of them: its first top is the samples, the second their labels. A net has one of them.
void AddDataLayer(CaffeBuilder& builder, const caffe::LayerParameter& layer);

// What the layer says of samples, for the job: where they are, their shape, where it says that, their factor, the batch.
// `test` is where those are that are held out. What a job can't say, it notes.
void FillData(CaffeBuilder& builder, const std::string& test, Job* job);

}  // namespace downpour::formats
