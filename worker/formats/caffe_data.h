// Caffe's layers of data.
#pragma once

#include "worker/formats/caffe_builder.h"

namespace downpour::formats {

// Any of them: its first top is the samples, the second their labels. A net has one of them.
void AddDataLayer(CaffeBuilder& builder, const caffe::LayerParameter& layer);

// What the layer says of samples, for the job: their shape, where it does, their factor, the batch. What a job can't say,
// it notes.
void FillData(CaffeBuilder& builder, Job* job);

}  // namespace downpour::formats
