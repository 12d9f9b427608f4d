// Caffe's files as messages: text with the places of its mistakes, and the binary files of parameters.
#pragma once

#include <compare>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/formats/caffe.pb.h"

namespace downpour::formats {

// Where something begins, from 1.
struct CaffePlace {
  int line = 0;
  int column = 0;

  friend auto operator<=>(const CaffePlace&, const CaffePlace&) = default;
};

// A key that Caffe's messages, as they are known here, do not have.
struct CaffeUnknownKey {
  CaffePlace place;
  std::string sentence;
  bool of_net = false;  // of none of its layers
};

// A net whose layers are all in `layer`: those of the old `layers` were put there.
struct CaffeText {
  std::string file;  // for messages
  caffe::NetParameter net;
  std::vector<CaffePlace> places;  // where each layer begins; none where the text is not known
  std::vector<CaffeUnknownKey> unknown_keys;
};

// InvalidArgument with file and line of each mistake; keys that are not known are left to whoever reads the layers.
absl::StatusOr<CaffeText> ParseCaffeNet(const std::string& text, const std::string& file);
// The same of a net that stands in another text, whose lines are not known.
absl::StatusOr<CaffeText> CaffeTextOf(caffe::NetParameter net, const std::string& file);
// InvalidArgument also for a key that is not known.
absl::StatusOr<caffe::SolverParameter> ParseCaffeSolver(const std::string& text, const std::string& file);

// Layers of a .caffemodel, whose blobs are parameters. InvalidArgument for bytes that are none. Takes as much memory as
// the bytes do.
absl::StatusOr<caffe::NetParameter> ParseCaffeModel(absl::string_view bytes, const std::string& file);

}  // namespace downpour::formats
