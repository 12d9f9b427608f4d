// What the machine itself moves, to set other figures beside: memory, and sockets between two processes.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"

namespace downpour::bench {

enum class Family { kTcp, kUnix };

// Bytes a second of a copy within memory, each byte counted once; the best of several.
double MemcpyRate(std::size_t bytes);

// Bytes a second of y += a * x on one core, the bytes of x counted; the best of several.
double AxpyRate(std::size_t bytes);

// Rows a second of y[k] += a * x[i] on one core, i from 0 to `rows` and k ascending by chance, one in ten; a row is
// `width` floats. The best of several.
double ScatterRate(std::size_t rows, std::size_t width);

// Bytes a second of messages of so many bytes through a loopback socket, from one process to another, which reads them
// in pieces that stay in its cache and, where `apply`, adds each to parameters of its own. Forks: to be called before
// there are threads. Unavailable where there is no socket to be had.
absl::StatusOr<double> SocketRate(Family family, std::size_t bytes, double seconds, bool apply);

// Seconds from a request of 96 bytes to the last of the answer's, one after the other; unsorted. Forks too.
absl::StatusOr<std::vector<double>> SocketRoundTrips(Family family, std::size_t bytes, int count);

}  // namespace downpour::bench
