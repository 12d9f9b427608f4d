// Where the workers of a job find one another when the shards live in them (RendezvousService in service.proto).
//
// A worker comes, and says again and again that it is here. All have met once each has said so after the last came: a
// worker that ended while it waited counts no more, and its next attempt takes its place. After they have met no place
// is given away, for each worker then holds parameters that nobody else has.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"

namespace downpour::run {

// Serves from Start to its end. Any thread.
class RendezvousServer {
 public:
  // Listens on a free port of `host`. Unavailable where it can't.
  static absl::StatusOr<std::unique_ptr<RendezvousServer>> Start(const Job& job, const std::string& host);
  ~RendezvousServer();

  // host:port
  const std::string& address() const;
  // Where each worker's shards listen, by partition, once all have met.
  std::optional<std::vector<std::string>> Everyone() const;
  // A sentence once a newer attempt has come after all had met, and was refused: the one before it is gone.
  std::optional<std::string> Lost() const;
  // Workers that are done may end.
  void Release();

 private:
  class Impl;
  explicit RendezvousServer(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace downpour::run
