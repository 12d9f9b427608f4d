// Damaged data sets of Caffe's: refused, or samples.
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "tests/fuzz/mutations.h"
#include "tests/fuzz/temporary_file.h"
#include "tests/support/lmdb_writer.h"
#include "worker/data/lmdb.h"
#include "worker/formats/caffe.pb.h"
#include "worker/formats/file_bytes.h"

namespace {

using namespace downpour;

// Small records, and ones that take pages of their own.
std::vector<std::string> Records() {
  std::vector<std::string> records;
  for (int i = 0; i < 40; ++i) {
    formats::caffe::Datum datum;
    datum.set_channels(1);
    datum.set_height(4);
    datum.set_width(i % 8 == 0 ? 1024 : 4);
    datum.set_label(i % 3);
    datum.set_data(std::string(static_cast<std::size_t>(4 * datum.width()), static_cast<char>(i)));
    records.push_back(datum.SerializeAsString());
  }
  return records;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string seed_path = absl::StrCat(std::filesystem::temp_directory_path().string(), "/downpour-seed-", getpid());
  const bool written = tests::WriteLmdb(seed_path, Records());
  const auto seed = formats::ReadBytes(seed_path, "database", 1 << 20);
  std::remove(seed_path.c_str());
  if (!written || !seed.ok()) return 1;
  fuzz::TemporaryFile file;
  file.Write(*seed);
  if (!worker::LmdbShape(file.path()).ok()) return 1;
  return fuzz::Main(argc, argv, {*seed}, [&](const std::string& bytes) {
    if (!file.Write(bytes)) std::abort();
    (void)worker::LmdbShape(file.path());
    for (const std::uint32_t width : {4u, 1024u}) {
      (void)worker::ReadLmdb({.images = file.path(), .labels = "", .shape = {1, 4, width}, .classes = 3});
    }
  });
}
