#include "tools/ps_run/plot.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

namespace downpour::run {
namespace {

Series Sample() {
  Series series;
  for (int i = 1; i <= 5; ++i) series.points.push_back({.epoch = i / 5.0, .loss = 1.0 / i});
  series.evaluations.push_back({.epoch = 1, .accuracy = 0.9});
  return series;
}

TEST_CASE("the script carries every point and quotes what it is given") {
  const std::string script = PlotScript(Sample(), "a \"job\"", "it's.png");
  CHECK_THAT(script, Catch::Contains("0.20000 1.000000\n") && Catch::Contains("1.00000 90.000000\n"));
  CHECK_THAT(script, Catch::Contains("set title \"a \\\"job\\\"\"") && Catch::Contains("'it''s.png'"));
}

TEST_CASE("accuracy is called what it is") {
  Series series = Sample();
  CHECK_THAT(PlotScript(series, "job", "it.png"), Catch::Contains("y2label 'held-out accuracy, %'"));
  series.evaluations.back().top_k = 5;
  CHECK_THAT(PlotScript(series, "job", "it.png"),
             Catch::Contains("y2label 'held-out top-5 accuracy, %'") && Catch::Contains("title 'held-out top-5 accuracy'"));
}

TEST_CASE("where labels are numbers the held-out loss is drawn beside the training loss") {
  Series series = Sample();
  series.evaluations = {{.epoch = 1, .loss = 0.75}};
  const std::string script = PlotScript(series, "job", "it.png");
  CHECK_THAT(script, Catch::Contains("1.00000 0.750000\n") && Catch::Contains("title 'held-out loss'"));
  CHECK_THAT(script, !Catch::Contains("y2"));
}

TEST_CASE("gnuplot draws it") {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/plot.png";
  const absl::Status status = DrawPlot(Sample(), "job_1", path);
  INFO(status.message());
  REQUIRE(status.ok());
  std::ifstream in(path, std::ios::binary);
  char magic[4] = "";
  in.read(magic, 4);
  CHECK(std::string(magic + 1, 3) == "PNG");
}

TEST_CASE("a run of one report has a dot, where a line would not be seen") {
  Series series = Sample();
  CHECK_THAT(PlotScript(series, "job", "it.png"), Catch::Contains("using 1:2 with lines"));
  series.points.resize(1);
  CHECK_THAT(PlotScript(series, "job", "it.png"), Catch::Contains("using 1:2 with points"));
  CHECK(DrawPlot(series, "job", std::string(std::getenv("TEST_TMPDIR")) + "/dot.png").ok());
}

TEST_CASE("nothing to plot is said, not drawn") {
  CHECK(DrawPlot({}, "job", "/nowhere/plot.png").code() == absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace downpour::run
