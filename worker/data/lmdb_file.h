// A file of LMDB, read without its library, which trusts what it maps: here each number is checked before it is used.
//
// A file is pages of one size. The first two are meta pages, of which the one of the later transaction counts; it names the
// root of a tree of branch and leaf pages. A page is a header of 16 bytes, then as many offsets of two bytes as there are
// nodes, then the nodes, growing from its end:
//
//   page    u64 number, u16 pad, u16 flags, u16 end of the offsets, u16 begin of the nodes
//           of an overflow page the last four bytes are u32 pages, its number and those after it
//   meta    header, u32 magic 0xbeefc0de, u32 version 1, u64 address, u64 size of the map, two tables (that of free pages
//           and the one of all records), u64 last page, u64 transaction
//   table   u32 size of a page, u16 flags, u16 depth, u64 branches, u64 leaves, u64 overflows, u64 records, u64 root
//   node    u16 low, u16 high, u16 flags, u16 length of the key, key, value
//           in a leaf low and high are the length of the value; of a large one, flag 1, the value is the u64 number of an
//           overflow page. In a branch low, high and flags are the number of the page below
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace downpour::worker {

// Owns the descriptor. One thread.
class LmdbFile {
 public:
  // The file, or a folder that has it as data.mdb. NotFound; InvalidArgument where it is none.
  static absl::StatusOr<LmdbFile> Open(const std::string& path);

  LmdbFile(LmdbFile&& other) noexcept;
  LmdbFile& operator=(LmdbFile&&) = delete;
  ~LmdbFile();

  const std::string& path() const { return path_; }

  enum class Next { kGoOn, kStop };
  // Reads the values in the order of their keys: those of the records, counted from 0, that are `wanted`. Ends after all,
  // where `visit` says so, or with its error. InvalidArgument where the file is damaged. Takes memory for one value,
  // which is never more than the file has.
  absl::Status ForEach(absl::FunctionRef<bool(std::uint64_t record)> wanted,
                       absl::FunctionRef<absl::StatusOr<Next>(std::uint64_t record, const std::string& value)> visit);

 private:
  LmdbFile(std::string path, int fd, std::uint64_t size) : path_(std::move(path)), fd_(fd), size_(size) {}

  absl::Status ReadMeta();
  absl::Status Damaged(const std::string& what) const;
  absl::Status ReadAt(std::uint64_t offset, void* to, std::size_t size) const;

  const std::string path_;
  int fd_;
  const std::uint64_t size_;  // bytes
  std::uint32_t page_bytes_ = 0;
  std::uint64_t root_ = 0;
  bool empty_ = false;
};

}  // namespace downpour::worker
