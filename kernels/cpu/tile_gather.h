// What a convolution's products read of an image, as bf16.
//
// Each element is one channel as one place of the window sees it: at position y * width + x of the output stands what
// that place takes from the image there. Where windows step by 1, the places of a window's column share an element,
// whose rows go on below the output's: the place i rows further down reads it row_offset(i) positions later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/tensor_view.h"

namespace downpour::kernels::cpu {

struct GatherSpec {
  Shape input;
  int kernel = 0;
  int step = 1;      // from a window to the next, in the input
  int spread = 1;    // as if so many minus 1 zeros stood between two values of the input
  int dilation = 1;
  int pad = 0;       // may be below 0
  int height = 0;    // of the output
  int width = 0;
};

class TileGather {
 public:
  explicit TileGather(const GatherSpec& spec);

  // Places in the weights: of element `element`, where rows are shared of its row `row` of the window.
  struct Place {
    int channel;
    int row;
    int column;
  };
  Place PlaceOf(int element, int row) const;

  int elements() const { return elements_; }
  int window_rows() const { return window_rows_; }  // 1 where they are elements of their own
  std::size_t row_offset(int row) const { return static_cast<std::size_t>(row) * spec_.dilation * spec_.width; }
  // Positions of an element, with some behind the last that may be read and are zero at first.
  std::size_t plane() const { return plane_; }

  // Two elements a plane, interleaved: a pair for each position. `to` has (elements + 1) / 2 * plane() pairs, zero at
  // first or left by the same call.
  void FillPairs(const float* image, std::uint32_t* to) const;
  // An element a plane; likewise.
  void FillPlanes(const float* image, std::uint16_t* to) const;

 private:
  // What the lanes of a vector take from a row of the image.
  struct Lanes {
    std::uint16_t taken = 0;  // a bit a lane
    std::int32_t first = 0;   // lane l takes column first + l, where neighbours_
    std::int32_t columns[16] = {};
  };
  struct Element {
    int channel;
    int row;  // of the window, 0 where rows are shared
    int column;
    std::size_t plane;  // of the channel, in the image
  };

  template <bool kNeighbours>
  void FillPairsBy(const float* image, std::uint32_t* to) const;
  template <bool kNeighbours>
  void FillPlanesBy(const float* image, std::uint16_t* to) const;

  // Where an element's rows begin in its channel, one after the other; below 0 where the image has none.
  const std::int32_t* RowsOf(const Element& element) const { return row_offsets_.data() + element.row * rows_; }
  // The vectors of a row.
  const Lanes* LanesOf(const Element& element) const { return lanes_.data() + element.column * vectors_; }

  const GatherSpec spec_;
  const bool neighbours_;  // lanes take columns that lie side by side
  int window_rows_ = 0;
  int rows_ = 0;     // of an element
  int vectors_ = 0;  // of a row
  int elements_ = 0;
  std::size_t plane_ = 0;
  std::vector<Element> places_;
  std::vector<std::int32_t> row_offsets_;  // for each row of the window, for each row of an element
  std::vector<Lanes> lanes_;               // for each column of the window, for each vector
};

}  // namespace downpour::kernels::cpu
