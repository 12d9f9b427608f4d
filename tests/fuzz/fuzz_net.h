// The nets whose files are damaged.
#pragma once

#include <cstdlib>
#include <iostream>
#include <string>

#include "proto/job_config.h"
#include "worker/formats/model.h"

namespace downpour::fuzz {

// Layers of a job, with parameters.
inline formats::Model MakeModel(const std::string& shape, const std::string& layers) {
  const auto job = ParseJob("name: fuzz\nsync: {mode: downpour}\ndata: {shape: " + shape + ", scale: 0.5}\nnet:\n" + layers,
                            "fuzz");
  if (!job.ok()) {
    std::cerr << job.status().message() << "\n";
    std::abort();
  }
  formats::Model model{.job = *job};
  model.outline = *worker::OutlineNet(job->net(), {job->data().shape().begin(), job->data().shape().end()});
  for (std::size_t i = 0; i < model.outline.parameter_count; ++i) model.values.push_back(static_cast<float>(i % 7) - 3);
  return model;
}

// A small net of many kinds of layers.
inline formats::Model MakeModel() {
  return MakeModel(
      "[2, 9, 9]",
      "  - {name: conv, type: convolution, outputs: 4, kernel: 3, groups: 2, pad: 1}\n"
      "  - {name: bn, type: batch_norm}\n"
      "  - {name: lrn, type: lrn, local_size: 3}\n"
      "  - {name: relu, type: leaky_relu, slope: 0.5}\n"
      "  - {name: sum, type: eltwise, inputs: [relu, conv]}\n"
      "  - {name: pool, type: pooling, kernel: 3, stride: 2, round_up: true}\n"
      "  - {name: average, type: pooling, kernel: 3, stride: 2, pad: 1, method: average, round_up: true, inputs: [sum]}\n"
      "  - {name: up, type: transposed_convolution, outputs: 2, kernel: 2, stride: 2, inputs: [average]}\n"
      "  - {name: slice, type: slice, axis: height, to: 4, inputs: [up]}\n"
      "  - {name: norm, type: layer_norm}\n"
      "  - {name: side, type: inner_product, outputs: 5}\n"
      "  - {name: ip, type: inner_product, outputs: 5, inputs: [pool]}\n"
      "  - {name: both, type: concat, inputs: [ip, side]}\n"
      "  - {name: drop, type: dropout}\n"
      "  - {name: scores, type: inner_product, outputs: 3}\n"
      "  - {name: loss, type: softmax_loss}\n");
}

// Of words, and of layers that other formats have in pieces.
inline formats::Model MakeSequenceModel() {
  return MakeModel("[5]",
                   "  - {name: words, type: embedding, vocabulary: 7, outputs: 4}\n"
                   "  - {name: each, type: inner_product, outputs: 4, per_step: true}\n"
                   "  - {name: attention, type: self_attention, heads: 2, causal: true}\n"
                   "  - {name: norm, type: layer_norm, axis: step}\n"
                   "  - {name: lstm, type: lstm, outputs: 3}\n"
                   "  - {name: within, type: lrn, region: within_channel, local_size: 3}\n"
                   "  - {name: gru, type: gru, outputs: 4, last: true}\n"
                   "  - {name: maxout, type: maxout, pieces: 2}\n"
                   "  - {name: scores, type: inner_product, outputs: 3}\n"
                   "  - {name: loss, type: softmax_loss}\n");
}

}  // namespace downpour::fuzz
