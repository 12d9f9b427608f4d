#include "worker/data/format.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "proto/job.pb.h"
#include "proto/key.pb.h"
#include "worker/data/idx.h"

namespace downpour::worker {
namespace {

using Catch::Contains;
using Bytes = std::string;

void AddBigEndian(std::uint32_t value, Bytes& bytes) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift));
}

Bytes Images(std::uint32_t count, std::uint32_t rows, std::uint32_t columns) {
  Bytes bytes;
  for (const std::uint32_t word : {0x803u, count, rows, columns}) AddBigEndian(word, bytes);
  for (std::uint32_t i = 0; i < count * rows * columns; ++i)
    bytes.push_back(static_cast<char>(i / (rows * columns)));
  return bytes;
}

Bytes Labels(std::uint32_t count) {
  Bytes bytes;
  AddBigEndian(0x801, bytes);
  AddBigEndian(count, bytes);
  for (std::uint32_t i = 0; i < count; ++i) bytes.push_back(static_cast<char>(i % 10));
  return bytes;
}

// A folder with an images and a labels file, gone with the object.
class Files {
 public:
  Files(const Bytes& images, const Bytes& labels, bool gzip = false) {
    std::string name = (std::filesystem::temp_directory_path() / "idx_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    folder_ = name;
    Write("images", images, gzip);
    Write("labels", labels, gzip);
  }
  ~Files() { std::filesystem::remove_all(folder_); }

  SampleSource source() const {
    return {.images = (folder_ / "images").string(),
            .labels = (folder_ / "labels").string(),
            .shape = {1, 2, 3},
            .classes = 10};
  }

  void Write(const std::string& name, const Bytes& bytes, bool gzip = false) const {
    const std::string path = (folder_ / name).string();
    if (gzip) {
      gzFile file = gzopen(path.c_str(), "wb");
      gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
      gzclose(file);
    } else {
      std::ofstream(path, std::ios::binary) << bytes;
    }
  }

  Bytes Read(const std::string& name) const {
    std::ifstream in((folder_ / name).string(), std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(in), {});
  }

 private:
  std::filesystem::path folder_;
};

std::string ErrorOf(const SampleSource& source, absl::StatusCode code) {
  const auto store = ReadIdx(source);
  REQUIRE_FALSE(store.ok());
  CHECK(store.status().code() == code);
  return std::string(store.status().message());
}

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kTruncated = absl::StatusCode::kDataLoss;

TEST_CASE("the table of formats has what the job file offers") {
  std::set<std::string> table, offered;
  for (const DataFormat& format : DataFormats()) table.insert(std::string(format.name));
  const auto* field = Data::descriptor()->FindFieldByName("format");
  for (const std::string& choice : field->options().GetExtension(key).choices()) offered.insert(choice);
  CHECK(table == offered);
  const auto unknown = ReadSamples("csv", {});
  CHECK(unknown.status().code() == kInvalid);
  CHECK_THAT(std::string(unknown.status().message()), Contains("'csv'") && Contains("idx"));
}

TEST_CASE("plain and gzip files are read in shares") {
  for (const bool gzip : {false, true}) {
    const Files files(Images(100, 2, 3), Labels(100), gzip);
    for (const std::uint32_t partitions : {1, 3, 100, 150}) {
      for (const std::uint64_t limit : {0, 10, 99, 1000}) {
        for (std::uint32_t partition = 0; partition < partitions; ++partition) {
          SampleSource source = files.source();
          source.partition = partition;
          source.partitions = partitions;
          source.limit = limit;
          const auto store = ReadSamples("idx", source);
          REQUIRE(store.ok());
          const std::size_t count = limit == 0 ? 100 : std::min<std::size_t>(limit, 100);
          std::size_t row = 0;
          for (std::size_t sample = partition; sample < count; sample += partitions, ++row) {
            REQUIRE(row < store->size());
            REQUIRE(store->labels()[row] == static_cast<std::int32_t>(sample % 10));
            REQUIRE((*store->features().Read(row, {}))[0] == std::byte(sample));
            REQUIRE((*store->features().Read(row, {}))[5] == std::byte(sample));
          }
          REQUIRE(store->size() == row);
        }
      }
    }
  }
}

TEST_CASE("files of no samples are fine") {
  const Files files(Images(0, 2, 3), Labels(0));
  const auto store = ReadIdx(files.source());
  REQUIRE(store.ok());
  CHECK(store->size() == 0);
}

TEST_CASE("a missing file is named") {
  const Files files(Images(1, 2, 3), Labels(1));
  SampleSource source = files.source();
  source.labels += ".gone";
  CHECK_THAT(ErrorOf(source, absl::StatusCode::kNotFound),
             Contains("labels.gone") && Contains("No such file"));
  source.labels = std::filesystem::temp_directory_path().string();
  CHECK_THAT(ErrorOf(source, kInvalid), Contains("folder"));
  // Nobody ever writes to it.
  source.labels = files.source().labels + ".pipe";
  REQUIRE(mkfifo(source.labels.c_str(), 0600) == 0);
  CHECK_THAT(ErrorOf(source, kInvalid), Contains("no regular file"));
}

TEST_CASE("swapped, foreign and mismatched files are told apart") {
  const Files files(Images(5, 2, 3), Labels(5));
  SampleSource source = files.source();
  std::swap(source.images, source.labels);
  CHECK_THAT(ErrorOf(source, kInvalid), Contains("swapped"));
  source.labels = source.images;
  CHECK_THAT(ErrorOf(source, kInvalid), Contains("check the path of the images"));
  source.images = source.labels = files.source().images;
  CHECK_THAT(ErrorOf(source, kInvalid), Contains("check the path of the labels"));

  source = files.source();
  source.shape = {1, 28, 28};
  CHECK_THAT(ErrorOf(source, kInvalid), Contains("2x3") && Contains("1x28x28"));
  files.Write("labels", Labels(4));
  CHECK_THAT(ErrorOf(files.source(), kInvalid), Contains("5 images") && Contains("4 labels"));
  files.Write("labels", "");
  CHECK_THAT(ErrorOf(files.source(), kInvalid), Contains("only 0 bytes"));
  files.Write("labels", "hello, world");
  CHECK_THAT(ErrorOf(files.source(), kInvalid), Contains("0x68656c6c"));
  files.Write("labels", Bytes("\0\0\x0d\x01\0\0\0\0", 8));
  CHECK_THAT(ErrorOf(files.source(), kInvalid), Contains("0x0d"));
}

TEST_CASE("truncated and overlong files are refused, with what was expected and found") {
  for (const bool gzip : {false, true}) {
    const Bytes images = Images(50, 2, 3), labels = Labels(50);
    for (const std::uint32_t partitions : {1, 3}) {
      Files files(images.substr(0, images.size() - 1), labels, gzip);
      SampleSource source = files.source();
      source.partitions = partitions;
      CHECK_THAT(ErrorOf(source, kTruncated), Contains("316") && Contains("315") && Contains("images"));
      files.Write("images", images + "x", gzip);
      CHECK_THAT(ErrorOf(source, kInvalid), Contains("more than the 316 bytes"));
      files.Write("images", images, gzip);
      files.Write("labels", labels.substr(0, 20), gzip);
      CHECK_THAT(ErrorOf(source, kTruncated), Contains("58") && Contains("20") && Contains("labels"));
      files.Write("labels", labels.substr(0, 6), gzip);
      CHECK_THAT(ErrorOf(source, kTruncated), Contains("truncated"));
      files.Write("labels", labels + labels, gzip);
      CHECK_THAT(ErrorOf(source, kInvalid), Contains("more than the 58 bytes"));
    }
  }
}

TEST_CASE("a damaged or cut gzip stream is refused") {
  const Files files(Images(5000, 2, 3), Labels(5000), true);
  const Bytes good = files.Read("images");
  files.Write("images", good.substr(0, good.size() / 2));
  CHECK_THAT(ErrorOf(files.source(), kTruncated), Contains("images") && Contains("truncated"));
  Bytes bad = good;
  for (std::size_t i = good.size() / 2; i < good.size() / 2 + 8; ++i) bad[i] = static_cast<char>(~bad[i]);
  files.Write("images", bad);
  CHECK_THAT(ErrorOf(files.source(), kTruncated), Contains("images"));
}

TEST_CASE("a header's claims allocate nothing") {
  Bytes images, labels;
  for (const std::uint32_t word : {0x803u, 0xffffffffu, 2u, 3u}) AddBigEndian(word, images);
  for (const std::uint32_t word : {0x801u, 0xffffffffu}) AddBigEndian(word, labels);
  CHECK_THAT(ErrorOf(Files(images, labels).source(), kTruncated),
             Contains("4294967303") && Contains("labels"));
  Bytes huge;
  for (const std::uint32_t word : {0x804u, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu}) {
    AddBigEndian(word, huge);
  }
  CHECK_THAT(ErrorOf(Files(huge, labels).source(), kInvalid), Contains("data.shape"));
}

TEST_CASE("a label out of range is named, if it is in this partition") {
  const Files files(Images(20, 2, 3), Labels(20));
  SampleSource source = files.source();
  source.classes = 9;
  CHECK_THAT(ErrorOf(source, kInvalid),
             Contains("label 9 is 9") && Contains("9 classes") && Contains("labels"));
  source.partitions = 2;
  CHECK(ReadIdx(source).ok());
}

TEST_CASE("the limit of memory holds") {
  const Files files(Images(20, 2, 3), Labels(20));
  SampleSource source = files.source();
  source.limits.total_bytes = 100;
  CHECK_THAT(ErrorOf(source, absl::StatusCode::kResourceExhausted), Contains("worker.feed_limit_bytes"));
  source = files.source();
  source.partitions = 0;
  CHECK_THAT(ErrorOf(source, kInvalid), Contains("partition"));
}

}  // namespace
}  // namespace downpour::worker
