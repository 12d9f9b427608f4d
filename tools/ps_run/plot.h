// A picture of a run: loss and held-out accuracy over epochs. Drawn by gnuplot.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "tools/ps_run/series.h"

namespace downpour::run {

// gnuplot's commands for a PNG at `path`. A pure function.
std::string PlotScript(const Series& series, const std::string& title, const std::string& path);

// Draws it. NotFound where gnuplot is not installed.
absl::Status DrawPlot(const Series& series, const std::string& title, const std::string& path);

}  // namespace downpour::run
