#include "worker/data/transform.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace downpour::worker {
namespace {

using Values = std::vector<float>;

Data DataOf(std::vector<std::uint32_t> shape, float scale = 1) {
  Data data;
  for (const std::uint32_t side : shape) data.add_shape(side);
  data.set_scale(scale);
  return data;
}

// Two channels of three rows of four: 1 to 12, and 101 to 112.
template <typename Value>
std::vector<Value> Picture() {
  std::vector<Value> picture;
  for (int i = 0; i < 24; ++i) picture.push_back(static_cast<Value>(i < 12 ? 1 + i : 89 + i));
  return picture;
}

Values Seen(const Transform& transform, const Transform::View& view) {
  Values floats(transform.size()), bytes(transform.size());
  transform.Apply(Picture<float>(), view, floats);
  transform.Apply(Picture<std::uint8_t>(), view, bytes);
  CHECK(floats == bytes);
  return floats;
}

TEST_CASE("a sample is seen whole where nothing is asked for") {
  const Transform transform(DataOf({2, 3, 4}));
  CHECK(transform.sample_size() == 24);
  CHECK(transform.size() == 24);
  CHECK(Seen(transform, transform.Middle()) == Picture<float>());
  for (int substream = 0; substream < 20; ++substream) {
    CHECK(Seen(transform, transform.Draw(Random(1, 2, substream))) == Picture<float>());
  }
}

TEST_CASE("the mean of a channel comes off before the scale") {
  Data data = DataOf({2, 3, 4}, 0.5f);
  data.mutable_transforms()->add_mean(1);
  data.mutable_transforms()->add_mean(101);
  Values expected;
  for (int i = 0; i < 24; ++i) expected.push_back(0.5f * static_cast<float>(i % 12));
  const Transform transform(data);
  CHECK(Seen(transform, transform.Middle()) == expected);

  data.mutable_transforms()->clear_mean();
  data.mutable_transforms()->add_mean(3);
  const Values seen = Seen(Transform(data), {});
  CHECK(seen.front() == -1);
  CHECK(seen.back() == 54.5f);
}

TEST_CASE("a flat row has a mean for each value") {
  Data data = DataOf({3}, 2);
  for (const float mean : {1, 20, 300}) data.mutable_transforms()->add_mean(mean);
  const Transform transform(data);
  Values seen(3);
  transform.Apply(Values{2, 20, 290}, transform.Middle(), seen);
  CHECK(seen == Values{2, 0, -20});
}

TEST_CASE("views of a picture") {
  Data data = DataOf({2, 3, 4});
  struct Row {
    std::uint32_t crop;
    Transform::View view;
    Values first_channel;
  };
  const std::vector<Row> rows = {
      {0, {.mirrored = true}, {4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9}},
      {0, {.top = 1}, {5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0}},
      {0, {.top = -2}, {0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}},
      {0, {.left = 3}, {4, 0, 0, 0, 8, 0, 0, 0, 12, 0, 0, 0}},
      {0, {.left = -1}, {0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11}},
      {0, {.top = 1, .left = -1, .mirrored = true}, {7, 6, 5, 0, 11, 10, 9, 0, 0, 0, 0, 0}},
      {2, {}, {1, 2, 5, 6}},
      {2, {.top = 1, .left = 2}, {7, 8, 11, 12}},
      {2, {.top = 1, .left = 1, .mirrored = true}, {7, 6, 11, 10}},
      {2, {.top = 2, .left = 3}, {12, 0, 0, 0}},
      {2, {.top = -1, .left = -1, .mirrored = true}, {0, 0, 1, 0}},
      {3, {.left = 1}, {2, 3, 4, 6, 7, 8, 10, 11, 12}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.crop, row.view.top, row.view.left, row.view.mirrored);
    data.mutable_transforms()->set_crop(row.crop);
    Values expected = row.first_channel;
    for (const float value : row.first_channel) expected.push_back(value == 0 ? 0 : value + 100);
    CHECK(Seen(Transform(data), row.view) == expected);
  }
}

TEST_CASE("what comes in from beyond is what an input value of 0 becomes") {
  Data data = DataOf({2, 3, 4}, 0.5f);
  data.mutable_transforms()->add_mean(2);
  data.mutable_transforms()->add_mean(102);
  CHECK(Seen(Transform(data), {.top = 2, .left = 3}) == Values{5,   -1,  -1,  -1,  -1,  -1,  -1,  -1,
                                                               -1,  -1,  -1,  -1,  5,   -51, -51, -51,
                                                               -51, -51, -51, -51, -51, -51, -51, -51});
}

TEST_CASE("the middle") {
  Data data = DataOf({2, 3, 4});
  data.mutable_transforms()->set_mirror(true);
  data.mutable_transforms()->set_shift(1);
  data.mutable_transforms()->set_crop(2);
  const Transform transform(data);
  CHECK(Seen(transform, transform.Middle()) == Values{2, 3, 6, 7, 102, 103, 106, 107});
}

// How often each view was drawn, as (top, left, mirrored).
std::map<std::tuple<int, int, bool>, int> Draws(const Data& data, int times) {
  const Transform transform(data);
  std::map<std::tuple<int, int, bool>, int> draws;
  for (int i = 0; i < times; ++i) {
    const Transform::View view = transform.Draw(Random(5, 1, i));
    ++draws[{view.top, view.left, view.mirrored}];
  }
  return draws;
}

TEST_CASE("all views are drawn, each as often") {
  Data data = DataOf({1, 5, 6});
  Transforms* const transforms = data.mutable_transforms();
  transforms->set_crop(4);
  transforms->set_mirror(true);
  auto draws = Draws(data, 12000);  // two tops, three lefts, two sides
  REQUIRE(draws.size() == 12);
  for (const auto& [view, times] : draws) CHECK(std::abs(times - 1000) < 120);

  transforms->set_crop(0);
  transforms->set_mirror(false);
  transforms->set_shift(2);
  draws = Draws(data, 25000);
  REQUIRE(draws.size() == 25);
  CHECK(std::get<0>(draws.begin()->first) == -2);
  CHECK(std::get<0>(draws.rbegin()->first) == 2);
  for (const auto& [view, times] : draws) CHECK(std::abs(times - 1000) < 120);
}

TEST_CASE("a key's draws do not depend on the other keys") {
  Data data = DataOf({1, 8, 8});
  data.mutable_transforms()->set_shift(2);
  const Transform shifts(data);
  data.mutable_transforms()->set_mirror(true);
  const Transform both(data);
  for (int i = 0; i < 50; ++i) {
    const auto a = shifts.Draw(Random(1, 0, i));
    const auto b = both.Draw(Random(1, 0, i));
    CHECK((a.top == b.top && a.left == b.left));
  }
}

}  // namespace
}  // namespace downpour::worker
