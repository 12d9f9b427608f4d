// A whole job in virtual time: N workers, M servers, the links between them. The servers' rules and arithmetic, the
// workers' rules and the frames' headers are the product's own; gRPC, threads, kernels of nets and the network are not
// there.
//
// Deterministic: the same settings give the same figures, to the bit, on the same kind of machine.
#pragma once

#include "absl/status/statusor.h"
#include "bench/simulation/figures.h"
#include "bench/simulation/settings.h"

namespace downpour::bench {

struct Simulated {
  Figures figures;
  RealTime real;
};

// InvalidArgument as CheckSettings and JobOf; otherwise what a worker or a server would have ended with.
absl::StatusOr<Simulated> Simulate(const SimulationSettings& settings);

}  // namespace downpour::bench
