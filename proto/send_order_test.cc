#include "proto/send_order.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace downpour {
namespace {

FrameHeader HeaderOf(FrameKind kind, uint32_t part, uint32_t table = 0) {
  FrameHeader header;
  header.kind = kind;
  header.part = part;
  header.table = table;
  return header;
}

TEST_CASE("a pull overtakes pushes of other parts, an ack overtakes values, nothing else anything") {
  for (const FrameKind kind : {FrameKind::kHello, FrameKind::kWelcome, FrameKind::kSet, FrameKind::kPush,
                               FrameKind::kAck, FrameKind::kPull, FrameKind::kValues, FrameKind::kRefused}) {
    for (const FrameKind earlier : {FrameKind::kHello, FrameKind::kWelcome, FrameKind::kSet, FrameKind::kPush,
                                    FrameKind::kAck, FrameKind::kPull, FrameKind::kValues, FrameKind::kRefused}) {
      CAPTURE(std::string(FrameKindName(kind)), std::string(FrameKindName(earlier)));
      const bool pull = kind == FrameKind::kPull && (earlier == FrameKind::kPush || earlier == FrameKind::kSet);
      const bool ack = kind == FrameKind::kAck && earlier == FrameKind::kValues;
      CHECK(MayOvertake(HeaderOf(kind, 1), HeaderOf(earlier, 1)) == ack);
      CHECK(MayOvertake(HeaderOf(kind, 1), HeaderOf(earlier, 2)) == (ack || pull));
      CHECK(MayOvertake(HeaderOf(kind, 1, 1), HeaderOf(earlier, 1, 2)) == (ack || pull));
    }
  }
}

// What waits, e.g. "push 3".
std::vector<std::string> Order(const std::vector<FrameHeader>& frames, size_t begun) {
  std::deque<FrameHeader> waiting;
  for (const FrameHeader& frame : frames)
    InsertInSendOrder(
        frame, begun, [](const FrameHeader& h) -> const FrameHeader& { return h; }, &waiting);
  std::vector<std::string> order;
  for (const FrameHeader& header : waiting) {
    order.push_back(std::string(FrameKindName(header.kind)) + " " + std::to_string(header.part));
  }
  return order;
}

TEST_CASE("a fetch goes part by part as soon as its own pushes have gone") {
  const auto push = [](uint32_t part) { return HeaderOf(FrameKind::kPush, part); };
  const auto pull = [](uint32_t part) { return HeaderOf(FrameKind::kPull, part); };
  CHECK(Order({push(2), push(3), push(4), pull(0), pull(1), pull(2), pull(3), pull(4)}, 0) ==
        std::vector<std::string>{"pull 0", "pull 1", "push 2", "pull 2", "push 3", "pull 3", "push 4", "pull 4"});
  CHECK(Order({push(2), push(3), pull(0), pull(1)}, 1) ==
        std::vector<std::string>{"push 2", "pull 0", "pull 1", "push 3"});
}

TEST_CASE("acks go before values that have not begun") {
  const auto values = [](uint32_t part) { return HeaderOf(FrameKind::kValues, part); };
  const auto ack = [](uint32_t part) { return HeaderOf(FrameKind::kAck, part); };
  CHECK(Order({values(0), values(1), ack(0), values(2), ack(1)}, 1) ==
        std::vector<std::string>{"values 0", "ack 0", "ack 1", "values 1", "values 2"});
  CHECK(Order({values(0), HeaderOf(FrameKind::kRefused, 0), ack(1)}, 1) ==
        std::vector<std::string>{"values 0", "refused 0", "ack 1"});
}

}  // namespace
}  // namespace downpour
