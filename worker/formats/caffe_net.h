// A job from a Caffe net, and one from a Caffe solver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "worker/formats/caffe_builder.h"
#include "worker/formats/caffe_text.h"

namespace downpour::formats {

struct CaffeNet {
  Job job;  // what the net says: net, data, training.batch; one worker in bsp, as Caffe; other keys have their defaults
  std::vector<CaffeBlobs> blobs;   // where its layers' parameters go
  std::vector<std::string> notes;  // what was in the net and is not in the job
};

struct CaffeNetOptions {
  caffe::NetState state;             // which layers count; by default those of training
  std::vector<std::uint32_t> shape;  // of a sample, where the net does not say it
  CaffeNetOptions() { state.set_phase(caffe::TRAIN); }
};

// Where the net's samples are in that state, as a database of LMDB; empty where they are not in one.
std::string CaffeDatabase(const CaffeText& text, const caffe::NetState& state);

// InvalidArgument with file and line of every layer that is not known or asks for what is not there. A net without a loss
// gets a softmax_loss, in place of the Softmax that it ends with or after its last layer.
absl::StatusOr<CaffeNet> FromCaffeNet(const CaffeText& text, const CaffeNetOptions& options);

// Fills in how a solver trains: optimizer, schedule, steps, one worker that waits for its server. Notes what is left out.
// InvalidArgument, naming the file, with all that is not known.
absl::Status ApplyCaffeSolver(const caffe::SolverParameter& solver, const std::string& file, CaffeNet* net);

}  // namespace downpour::formats
