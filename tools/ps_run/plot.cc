#include "tools/ps_run/plot.h"

#include <csignal>
#include <cstdio>
#include <fstream>
#include <string>

#include <sys/wait.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "tools/ps_run/progress_line.h"

namespace downpour::run {
namespace {

// Within gnuplot's double quotes.
std::string Quoted(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}, {"_", "\\\\_"}}), "\"");
}

// gnuplot takes no notice of a full disk.
bool IsWholePng(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  char tail[8] = "";
  in.seekg(-8, std::ios::end);
  in.read(tail, sizeof(tail));
  return in && std::string(tail, 4) == "IEND";
}

}  // namespace

std::string PlotScript(const Series& series, const std::string& title, const std::string& path) {
  std::string script = "$loss << END\n";
  for (const Point& point : series.points) {
    if (point.loss > 0) absl::StrAppend(&script, absl::StrFormat("%.5f %.6f\n", point.epoch, point.loss));
  }
  absl::StrAppend(&script, "END\n$held_out << END\n");
  const bool measured = !series.evaluations.empty();
  const bool classes = measured && series.evaluations.back().accuracy.has_value();
  const std::string held_out =
      absl::StrCat("held-out ", classes ? AccuracyName(series.evaluations.back().top_k) : "loss");
  for (const Evaluation& e : series.evaluations) {
    absl::StrAppend(&script, absl::StrFormat("%.5f %.6f\n", e.epoch, classes ? e.accuracy.value_or(0) * 100 : e.loss));
  }
  absl::StrAppend(&script, "END\n",
                  "set terminal pngcairo size 960,540 font 'sans,11'\n"
                  "set output '", absl::StrReplaceAll(path, {{"'", "''"}}), "'\n",
                  "set title ", Quoted(title), "\n",
                  "set xlabel 'epoch'\nset xrange [0:*]\n"
                  "set ylabel 'training loss'\nset yrange [0:*]\nset ytics nomirror\n"
                  "set grid xtics ytics lc rgb '#dddddd'\nset key top center horizontal outside\n");
  if (classes) {
    absl::StrAppend(&script, "set border 11\nset y2label '", held_out, ", %'\nset y2tics\nset y2range [0<*:*<100]\n");
  } else {
    absl::StrAppend(&script, "set border 3\nset xtics nomirror\n");
  }
  absl::StrAppend(&script, "plot $loss using 1:2 with ", series.points.size() == 1 ? "points pt 7" : "lines lw 2",
                  " lc rgb '#4477aa' title 'training loss'");
  if (measured) {
    absl::StrAppend(&script, ", $held_out using 1:2 ", classes ? "axes x1y2 " : "",
                    "with linespoints lw 2 pt 7 lc rgb '#cc6677' ",
                    "title '", held_out, "'");
  }
  absl::StrAppend(&script, "\n");
  return script;
}

absl::Status DrawPlot(const Series& series, const std::string& title, const std::string& path) {
  if (series.points.empty()) return absl::NotFoundError("nothing to plot: the run ended before its first report");
  FILE* gnuplot = popen("exec gnuplot 2>/dev/null", "w");
  if (gnuplot == nullptr) return absl::NotFoundError("can't start gnuplot");
  const std::string beside = absl::StrCat(path, ".part");
  const std::string script = PlotScript(series, title, beside);
  std::fwrite(script.data(), 1, script.size(), gnuplot);
  const int status = pclose(gnuplot);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
    return absl::NotFoundError("gnuplot is not installed (Debian: gnuplot-nox)");
  }
  if (status != 0 || !IsWholePng(beside) || std::rename(beside.c_str(), path.c_str()) != 0) {
    std::remove(beside.c_str());
    return absl::InternalError(absl::StrCat("gnuplot could not draw ", path, ", status ", WEXITSTATUS(status)));
  }
  return absl::OkStatus();
}

}  // namespace downpour::run
