// The HTTP port on which Prometheus finds /metrics.
#pragma once

#include <memory>
#include <string>

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include "absl/status/statusor.h"

namespace downpour::ps {

class MetricsEndpoint {
 public:
  // `address` is host:port, the host a numeric address. Fails as ListenError() does; `setting` is for its
  // message.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(
      const std::string& address, std::shared_ptr<prometheus::Collectable> metrics,
      const std::string& setting);
  // Stops serving, at once.
  ~MetricsEndpoint();

  // With the port that was chosen.
  const std::string& address() const { return address_; }

 private:
  MetricsEndpoint(std::unique_ptr<prometheus::Exposer> exposer,
                  std::shared_ptr<prometheus::Collectable> metrics, std::string address)
      : metrics_(std::move(metrics)), exposer_(std::move(exposer)), address_(std::move(address)) {}

  std::shared_ptr<prometheus::Collectable> metrics_;
  std::unique_ptr<prometheus::Exposer> exposer_;
  const std::string address_;
};

}  // namespace downpour::ps
