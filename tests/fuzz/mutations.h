// Files that went wrong, as many as a while allows and the same ones each time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace downpour::fuzz {

// Gives `read` each of the seeds, then mutations of them: bits and bytes changed, numbers made extreme, pieces cut out,
// doubled and exchanged with those of another seed. Takes "--seconds N" of the command line, by default 5, for how long. A
// process that takes more than 2 GiB of memory ends by std::bad_alloc: no reader may believe what a header claims.
// Returns what main returns: 0, or 64 for another command line. What `read` finds wrong with a file is its own business, as
// long as it comes back.
int Main(int argc, char** argv, const std::vector<std::string>& seeds,
         const std::function<void(const std::string&)>& read);

}  // namespace downpour::fuzz
