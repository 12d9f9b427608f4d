#include "ps/service/compact.h"

#include <memory>
#include <utility>
#include <vector>

namespace downpour::ps {
namespace {

constexpr size_t kFreePieces = 64;
constexpr size_t kLeastMeanPiece = 512;

}  // namespace

Payload Compact(Payload payload) {
  if (payload.chunks().size() <= kFreePieces + payload.size() / kLeastMeanPiece) return payload;
  return Joined(std::move(payload));
}

Payload Joined(Payload payload) {
  if (payload.chunks().size() <= 1) return payload;
  auto whole = std::make_shared<std::vector<std::byte>>();
  whole->reserve(payload.size());
  for (const Payload::Bytes& chunk : payload.chunks()) whole->insert(whole->end(), chunk.begin(), chunk.end());
  const Payload::Bytes bytes(*whole);
  return Payload(std::move(whole), std::vector<Payload::Bytes>{bytes});
}

}  // namespace downpour::ps
