// Databases as Caffe writes them, by LMDB's own library.
#pragma once

#include <string>
#include <vector>

namespace downpour::tests {

// A database in one file, its keys in the order of the records. False where it can't be written.
bool WriteLmdb(const std::string& path, const std::vector<std::string>& records);

}  // namespace downpour::tests
