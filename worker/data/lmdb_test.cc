#include "worker/data/lmdb.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "tests/support/lmdb_writer.h"
#include "worker/data/lmdb_file.h"
#include "worker/formats/caffe.pb.h"

namespace downpour::worker {
namespace {

using formats::caffe::Datum;

class Folder {
 public:
  Folder() : path_(absl::StrCat(std::filesystem::temp_directory_path().string(), "/downpour-lmdb-", getpid())) {
    std::filesystem::create_directory(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  std::string Write(const std::vector<std::string>& records) const {
    REQUIRE(tests::WriteLmdb(path_ + "/data.mdb", records));
    return path_;
  }

 private:
  const std::string path_;
};

Datum Sample(int i, int width = 3) {
  Datum datum;
  datum.set_channels(1);
  datum.set_height(2);
  datum.set_width(width);
  datum.set_label(i % 10);
  for (int j = 0; j < 2 * width; ++j) datum.mutable_data()->push_back(static_cast<char>(i + j));
  return datum;
}

std::vector<std::string> Samples(int count, int width = 3) {
  std::vector<std::string> records;
  for (int i = 0; i < count; ++i) records.push_back(Sample(i, width).SerializeAsString());
  return records;
}

SampleSource Source(const std::string& path, std::uint32_t width = 3) {
  return {.images = path, .labels = "", .shape = {1, 2, width}, .classes = 10};
}

std::uint8_t FirstByte(const SampleStore& store, std::size_t row) {
  std::vector<std::byte> scratch(store.row_bytes());
  return static_cast<std::uint8_t>(**store.features().Read(row, scratch));
}

std::string Mistake(const SampleSource& source) {
  const auto store = ReadLmdb(source);
  REQUIRE(!store.ok());
  CHECK(absl::IsInvalidArgument(store.status()));
  return std::string(store.status().message());
}

TEST_CASE("all records, in the order of their keys, whatever the tree is like") {
  const Folder folder;
  for (const int width : {3, 3000}) {  // within a page, and on pages of their own
    std::filesystem::remove(folder.path() + "/data.mdb");
    const auto store = ReadLmdb(Source(folder.Write(Samples(1000, width)), width));
    if (!store.ok()) FAIL(store.status().message());
    REQUIRE(store->size() == 1000);
    CHECK(store->type() == FeatureType::kU8);
    for (int i = 0; i < 1000; ++i) {
      CHECK(FirstByte(*store, i) == static_cast<std::uint8_t>(i));
      CHECK(store->labels()[i] == i % 10);
    }
  }
}

TEST_CASE("a partition has its share of the first records") {
  const Folder folder;
  SampleSource source = Source(folder.Write(Samples(100)));
  source.limit = 10;
  source.partitions = 3;
  source.partition = 1;
  const auto store = ReadLmdb(source);
  REQUIRE(store.ok());
  CHECK(std::vector<int>(store->labels().begin(), store->labels().end()) == std::vector<int>{1, 4, 7});
}

TEST_CASE("floats stay floats, and labels may be numbers") {
  const Folder folder;
  Datum datum = Sample(7);
  datum.clear_data();
  for (int i = 0; i < 6; ++i) datum.add_float_data(0.5f);
  SampleSource source = Source(folder.Write({datum.SerializeAsString()}));
  source.classes = 0;
  const auto store = ReadLmdb(source);
  REQUIRE(store.ok());
  CHECK(store->type() == FeatureType::kF32);
  CHECK(store->numbers()[0] == 7);
}

TEST_CASE("the first record says the shape") {
  const Folder folder;
  CHECK(*LmdbShape(folder.Write(Samples(2))) == std::vector<std::uint32_t>{1, 2, 3});
}

TEST_CASE("records that do not fit are named") {
  const Folder folder;
  const auto with = [&](const Datum& datum) {
    std::filesystem::remove(folder.path() + "/data.mdb");
    return Mistake(Source(folder.Write({Sample(0).SerializeAsString(), datum.SerializeAsString()})));
  };
  Datum datum = Sample(1);
  datum.set_label(10);
  CHECK_THAT(with(datum), Catch::Contains("record 1 has the label 10, but the net has 10 classes"));
  datum = Sample(1);
  datum.set_encoded(true);
  CHECK_THAT(with(datum), Catch::Contains("record 1 is an encoded image"));
  datum = Sample(1, 4);
  CHECK_THAT(with(datum), Catch::Contains("record 1 is 1x2x4 of 8 values; the job's data.shape has 6"));
  datum = Sample(1);
  datum.clear_data();
  for (int i = 0; i < 6; ++i) datum.add_float_data(1);
  CHECK_THAT(with(datum), Catch::Contains("record 1 has floats where others have bytes"));
}

TEST_CASE("what is no database is refused") {
  const Folder folder;
  CHECK(absl::IsNotFound(ReadLmdb(Source(folder.path() + "/nowhere")).status()));
  std::ofstream(folder.path() + "/data.mdb") << std::string(10000, 'x');
  CHECK_THAT(Mistake(Source(folder.path())), Catch::Contains("no file of LMDB"));
  std::ofstream(folder.path() + "/data.mdb") << "short";
  CHECK_THAT(Mistake(Source(folder.path())), Catch::Contains("ends too early"));
  SampleSource apart = Source(folder.path());
  apart.labels = "labels";
  CHECK_THAT(Mistake(apart), Catch::Contains("leave labels out"));
}

TEST_CASE("a page that leads back is no way without end") {
  const Folder folder;
  folder.Write(Samples(1000));
  std::fstream file(folder.path() + "/data.mdb", std::ios::in | std::ios::out | std::ios::binary);
  // The root is a branch: its first node is made to lead to itself.
  char meta[152];
  std::uint64_t root = 0, transactions[2];
  for (int i = 0; i < 2; ++i) {
    file.seekg(4096 * i);
    file.read(meta, sizeof(meta));
    std::memcpy(&transactions[i], meta + 144, 8);
    if (i == 0 || transactions[1] > transactions[0]) std::memcpy(&root, meta + 128, 8);
  }
  file.seekg(static_cast<std::streamoff>(root * 4096 + 16));
  std::uint16_t node = 0;
  file.read(reinterpret_cast<char*>(&node), 2);
  file.seekp(static_cast<std::streamoff>(root * 4096 + node));
  const std::uint32_t low = static_cast<std::uint32_t>(root);
  file.write(reinterpret_cast<const char*>(&low), 4);
  file.close();
  CHECK_THAT(Mistake(Source(folder.path())), Catch::Contains("leads astray"));
}

TEST_CASE("records that are one and the same place are more than the file has") {
  const Folder folder;
  std::vector<std::string> records = Samples(30);
  records.insert(records.begin(), Sample(0, 900).SerializeAsString());
  folder.Write(records);
  std::fstream file(folder.path() + "/data.mdb", std::ios::in | std::ios::out | std::ios::binary);
  // All are in one leaf: each node's pointer becomes the first one's.
  std::vector<char> page(4096);
  for (int number = 2;; ++number) {
    file.seekg(4096 * number);
    REQUIRE(file.read(page.data(), 4096));
    std::uint16_t flags = 0;
    std::memcpy(&flags, page.data() + 10, 2);
    if (flags != 2) continue;
    for (int node = 1; node < 31; ++node) std::memcpy(page.data() + 16 + 2 * node, page.data() + 16, 2);
    file.seekp(4096 * number);
    file.write(page.data(), 4096);
    break;
  }
  file.close();
  CHECK_THAT(Mistake(Source(folder.path(), 900)), Catch::Contains("lie over each other"));
}

TEST_CASE("a pipe is not waited for") {
  const Folder folder;
  REQUIRE(mkfifo((folder.path() + "/data.mdb").c_str(), 0600) == 0);
  CHECK_THAT(Mistake(Source(folder.path())), Catch::Contains("is no regular file"));
}

}  // namespace
}  // namespace downpour::worker
