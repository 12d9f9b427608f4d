#include "tests/fuzz/mutations.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iostream>
#include <random>

#include "absl/strings/numbers.h"

namespace downpour::fuzz {
namespace {

using Random = std::mt19937_64;

constexpr std::size_t kMostBytes = 1 << 20;

#ifndef __SANITIZE_ADDRESS__
constexpr bool kLimited = true;
#else
constexpr bool kLimited = false;  // the sanitizer itself maps terabytes
#endif

std::size_t Below(Random& random, std::size_t end) { return end == 0 ? 0 : random() % end; }

// Numbers at which readers go wrong, in 1, 2, 4 or 8 bytes.
void WriteExtreme(Random& random, std::string* bytes) {
  constexpr std::uint64_t kNumbers[] = {0,          1,          0x7f,       0x80,        0xff,
                                        0xffff,     0x7fffffff, 0x80000000, 0xffffffff,  0x100000000,
                                        1ull << 40, 1ull << 62, 1ull << 63, ~0ull,       ~0ull - 7};
  const std::uint64_t number = kNumbers[Below(random, std::size(kNumbers))];
  const std::size_t size = std::size_t{1} << Below(random, 4);
  if (bytes->size() < size) return;
  std::memcpy(bytes->data() + Below(random, bytes->size() - size + 1), &number, size);
}

void Mutate(Random& random, const std::string& other, std::string* bytes) {
  const std::size_t at = Below(random, bytes->size());
  const std::size_t length = std::min(bytes->size() - at, std::size_t{1} << Below(random, 12));
  switch (Below(random, 7)) {
    case 0:
      if (!bytes->empty()) (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << Below(random, 8)));
      break;
    case 1:
      if (!bytes->empty()) (*bytes)[at] = static_cast<char>(random());
      break;
    case 2: WriteExtreme(random, bytes); break;
    case 3: bytes->erase(at, length); break;
    case 4: bytes->insert(at, bytes->substr(at, length)); break;
    case 5: bytes->resize(at); break;
    case 6: bytes->replace(at, length, other.substr(Below(random, other.size()), length)); break;
  }
  if (bytes->size() > kMostBytes) bytes->resize(kMostBytes);
}

}  // namespace

int Main(int argc, char** argv, const std::vector<std::string>& seeds,
         const std::function<void(const std::string&)>& read) {
  int seconds = 5;
  const bool given = argc == 3 && std::string(argv[1]) == "--seconds" && absl::SimpleAtoi(argv[2], &seconds) && seconds > 0;
  if (argc != 1 && !given) {
    std::cerr << argv[0] << " takes --seconds N\n";
    return 64;
  }
  const rlimit limit{.rlim_cur = rlim_t{2} << 30, .rlim_max = rlim_t{2} << 30};
  if (kLimited) setrlimit(RLIMIT_AS, &limit);
  for (const std::string& seed : seeds) read(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::uint64_t files = 0;
  for (; std::chrono::steady_clock::now() < end; ++files) {
    Random random(files);
    std::string bytes = seeds[Below(random, seeds.size())];
    const std::string& other = seeds[Below(random, seeds.size())];
    for (std::size_t i = Below(random, 6) + 1; i > 0; --i) Mutate(random, other, &bytes);
    read(bytes);
  }
  std::cout << seeds.size() << " seeds, " << files << " files made of them\n";
  return 0;
}

}  // namespace downpour::fuzz
