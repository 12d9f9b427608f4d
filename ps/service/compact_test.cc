#include "ps/service/compact.h"

#include <catch2/catch.hpp>

namespace downpour::ps {
namespace {

Payload Cut(const std::shared_ptr<std::vector<std::byte>>& bytes, size_t piece) {
  std::vector<Payload::Bytes> chunks;
  for (size_t at = 0; at < bytes->size(); at += piece) {
    chunks.push_back(Payload::Bytes(*bytes).subspan(at, std::min(piece, bytes->size() - at)));
  }
  return Payload(bytes, std::move(chunks));
}

TEST_CASE("only a payload in tiny pieces is copied") {
  auto bytes = std::make_shared<std::vector<std::byte>>(100000);
  for (size_t i = 0; i < bytes->size(); ++i) (*bytes)[i] = static_cast<std::byte>(i * 7);
  CHECK(Compact(Cut(bytes, 8192)).chunks()[0].data() == bytes->data());
  const Payload copied = Compact(Cut(bytes, 3));
  REQUIRE(copied.chunks().size() == 1);
  CHECK(copied.chunks()[0].data() != bytes->data());
  CHECK(std::equal(bytes->begin(), bytes->end(), copied.chunks()[0].begin()));
  CHECK(Compact(Payload()).size() == 0);
}

}  // namespace
}  // namespace downpour::ps
