// What a net made of samples.
#pragma once

namespace downpour::worker {

// Sums over samples; one of weight w counts as w would.
struct Evaluation {
  double loss_sum = 0;
  double correct = 0;  // whose class is the likeliest, or among the top_k; 0 where labels are numbers
  double weight = 0;   // of the samples

  void Add(const Evaluation& other) {
    loss_sum += other.loss_sum;
    correct += other.correct;
    weight += other.weight;
  }
  // NaN without samples, or where all have the weight 0.
  double loss() const { return loss_sum / weight; }
  double accuracy() const { return correct / weight; }
};

}  // namespace downpour::worker
