// Convolutions that keep what they read in shared memory and registers.
//
// A thread makes a strip: kStrip outputs that follow each other in a row, for kMaps outputs' channels. Of each row of
// the window it reads once what all its columns need, so most of what it does is multiply and add. A block makes a band
// of rows of a few samples; input and weights come a few channels at a time, the next while the present are worked on.
//
// It is the same for gradients of the input where the stride is 1: a convolution of the output's gradient with the
// weights turned around.
#pragma once

#include <cuda_pipeline.h>

#include <algorithm>
#include <cstddef>

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/tensor_view.h"

namespace downpour::kernels::cuda {

// Of a block, for two stages: one that is worked on and one that comes.
constexpr std::size_t kSharedFloats = (48 << 10) / sizeof(float);
constexpr std::size_t kMostStageFloats = kSharedFloats / 2;
// So small that several blocks share a multiprocessor.
constexpr std::size_t kGoodStageFloats = (12 << 10) / sizeof(float);

constexpr int kMostDirectThreads = 256;

constexpr int RoundUp(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// Floats of a row that a strip reads, whole groups of four.
template <int kKernel, int kStride, int kStrip>
constexpr int kWindow = RoundUp((kStrip - 1) * kStride + kKernel, 4);

struct DirectProblem {
  Shape source;
  Shape result;
  int pad = 0;  // rows and columns of zeros before the source's first; may be negative
};

// How rows lie in shared memory.
struct RowLayout {
  FastDivisor rows;   // of a channel
  FastDivisor pitch;  // floats from one row to the next

  __host__ __device__ int of_channel() const { return static_cast<int>(rows.divisor() * pitch.divisor()); }
};

// Begins to copy rows of some channels of one sample, from `first_row` and `first_column` on, with zeros where there
// are none. All threads of a block.
__device__ inline void BeginCopy(const float* source, const Shape& shape, int channels, int first_row, int first_column,
                                 const RowLayout& layout, float* to) {
  const int pitch = layout.pitch.divisor(), rows = layout.rows.divisor();
  for (int i = threadIdx.x; i < channels * layout.of_channel(); i += blockDim.x) {
    const int line = layout.pitch.Divide(i);
    const int channel = layout.rows.Divide(line);
    const int row = first_row + line - channel * rows, column = first_column + i - line * pitch;
    if (row >= 0 && row < shape.height && column >= 0 && column < shape.width) {
      __pipeline_memcpy_async(to + i, source + (channel * shape.height + row) * shape.width + column, sizeof(float));
    } else {
      to[i] = 0;
    }
  }
}

// How a problem is cut up.
struct DirectCut {
  int groups = 0;    // of kMaps outputs' channels, in a block
  int tiles = 0;     // blocks that make up all outputs' channels
  int strips = 0;    // in a row
  int rows = 0;      // of a band
  int bands = 0;
  int samples = 0;   // of a block
  int parts = 0;     // that threads share a sum over channels in
  int channels = 0;  // at a time; 0 where the problem does not fit
  RowLayout layout;

  __host__ __device__ int strips_of_block() const { return groups * strips * rows * samples; }
  int threads() const { return strips_of_block() * parts; }
  __host__ __device__ int stage_floats(int taps, int maps) const {
    return channels * (samples * layout.of_channel() + taps * groups * maps);
  }
};

template <int kKernel, int kStride, int kStrip, int kMaps>
DirectCut CutDirect(const Context& context, const DirectProblem& problem, int batch) {
  DirectCut cut;
  cut.strips = (problem.result.width + kStrip - 1) / kStrip;
  cut.groups = std::min((problem.result.channels + kMaps - 1) / kMaps, 8);
  while (cut.groups > 1 && cut.groups * cut.strips > kMostDirectThreads) cut.groups = (cut.groups + 1) / 2;
  cut.tiles = (problem.result.channels + cut.groups * kMaps - 1) / (cut.groups * kMaps);
  const int most_rows = std::max(1, kMostDirectThreads / (cut.groups * cut.strips));
  cut.bands = (problem.result.height + most_rows - 1) / most_rows;
  if (kStrip < 8) {  // which is for when there are few
    while (cut.bands < problem.result.height && batch * cut.tiles * cut.bands < 2 * context.multiprocessors())
      ++cut.bands;
  }
  cut.rows = (problem.result.height + cut.bands - 1) / cut.bands;
  cut.bands = (problem.result.height + cut.rows - 1) / cut.rows;
  // Large strips are for when there are enough of them; then a block should be so too.
  const int of_sample = cut.groups * cut.strips * cut.rows;
  cut.samples = kStrip == 8 ? std::clamp(128 / of_sample, 1, 8) : 1;
  cut.parts = 1;
  if (cut.threads() > kMostDirectThreads) return {};
  cut.layout = {FastDivisor((cut.rows - 1) * kStride + kKernel),
                FastDivisor((cut.strips - 1) * kStrip * kStride + kWindow<kKernel, kStride, kStrip>)};
  cut.channels = 1;
  const std::size_t of_channel = cut.stage_floats(kKernel * kKernel, kMaps);
  if (of_channel > kMostStageFloats) return {};
  cut.channels = static_cast<int>(std::clamp<std::size_t>(kGoodStageFloats / of_channel, 1, problem.source.channels));
  if (kStrip < 8) {
    // What the other parts have goes to the first through the stages' memory.
    const int of_part = cut.strips_of_block() * kMaps * kStrip;
    cut.parts = std::min({kMostDirectThreads / cut.strips_of_block(), cut.channels,
                          1 + 2 * cut.stage_floats(kKernel * kKernel, kMaps) / of_part});
  }
  return cut;
}

template <int kSize>
__device__ void LoadFours(const float* from, float* to) {
#pragma unroll
  for (int i = 0; i < kSize; i += 4) {
    const float4 four = *reinterpret_cast<const float4*>(from + i);
    to[i] = four.x;
    to[i + 1] = four.y;
    to[i + 2] = four.z;
    to[i + 3] = four.w;
  }
}

// Adds to the first part's values those of the others, in their order, through `scratch`. All threads of a block.
template <int kValues>
__device__ void AddParts(float* scratch, int part, int parts, int in_part, int of_part, float* values) {
  if (part > 0) {
    for (int i = 0; i < kValues; ++i) scratch[((part - 1) * kValues + i) * of_part + in_part] = values[i];
  }
  __syncthreads();
  if (part > 0) return;
  for (int other = 0; other + 1 < parts; ++other) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) values[i] += scratch[(other * kValues + i) * of_part + in_part];
  }
}

// `weights` lie as ArrangeWeights puts them. No bias where it is null.
template <int kKernel, int kStride, int kStrip, int kMaps>
__global__ void __launch_bounds__(kMostDirectThreads)
    DirectKernel(DirectProblem problem, DirectCut cut, int batch, const float* source, const float* weights,
                 const float* bias, float* result) {
  constexpr int kTaps = kKernel * kKernel;
  extern __shared__ float4 shared[];
  const int of_tile = cut.groups * kMaps, pitch = cut.layout.pitch.divisor();
  const int of_sample = cut.channels * cut.layout.of_channel();
  const int of_stage = cut.stage_floats(kTaps, kMaps);

  const int part = threadIdx.x / cut.strips_of_block(), in_part = threadIdx.x % cut.strips_of_block();
  const int group = in_part % cut.groups, strip = in_part / cut.groups % cut.strips;
  const int line = in_part / (cut.groups * cut.strips);
  const int row = line % cut.rows, in_block = line / cut.rows;
  const int first_sample = blockIdx.x * cut.samples, first_row = blockIdx.y * cut.rows, tile = blockIdx.z;
  const int samples = min(cut.samples, batch - first_sample);
  const Index source_plane = problem.source.height * problem.source.width;

  const auto begin = [&](int stage, int c0) {
    if (c0 < problem.source.channels) {
      const int channels = min(cut.channels, problem.source.channels - c0);
      float* const to = reinterpret_cast<float*>(shared) + stage * of_stage;
      for (int s = 0; s < samples; ++s) {
        BeginCopy(source + (static_cast<Index>(first_sample + s) * problem.source.channels + c0) * source_plane,
                  problem.source, channels, first_row * kStride - problem.pad, -problem.pad, cut.layout,
                  to + s * of_sample);
      }
      const float* const from = weights + (static_cast<Index>(tile) * problem.source.channels + c0) * kTaps * of_tile;
      float* const maps = to + cut.samples * of_sample;
      for (int i = 4 * threadIdx.x; i < channels * kTaps * of_tile; i += 4 * blockDim.x) {
        __pipeline_memcpy_async(maps + i, from + i, sizeof(float4));
      }
    }
    __pipeline_commit();
  };

  float sums[kMaps][kStrip] = {};
  begin(0, 0);
  for (int c0 = 0, stage = 0; c0 < problem.source.channels; c0 += cut.channels, stage = 1 - stage) {
    begin(1 - stage, c0 + cut.channels);
    __pipeline_wait_prior(1);
    __syncthreads();
    const int channels = min(cut.channels, problem.source.channels - c0);
    const float* const staged = reinterpret_cast<const float*>(shared) + stage * of_stage;
    for (int c = part; c < channels; c += cut.parts) {
      const float* at = staged + in_block * of_sample + c * cut.layout.of_channel() + row * kStride * pitch +
                        strip * kStrip * kStride;
      const float* weight = staged + cut.samples * of_sample + c * kTaps * of_tile + group * kMaps;
#pragma unroll
      for (int i = 0; i < kKernel; ++i, at += pitch) {
        float window[kWindow<kKernel, kStride, kStrip>];
        LoadFours<kWindow<kKernel, kStride, kStrip>>(at, window);
#pragma unroll
        for (int j = 0; j < kKernel; ++j, weight += of_tile) {
          float w[kMaps];
          LoadFours<kMaps>(weight, w);
#pragma unroll
          for (int m = 0; m < kMaps; ++m)
#pragma unroll
            for (int x = 0; x < kStrip; ++x) sums[m][x] += w[m] * window[x * kStride + j];
        }
      }
    }
    __syncthreads();
  }
  if (kStrip < 8 && cut.parts > 1) {
    __pipeline_wait_prior(0);
    AddParts<kMaps * kStrip>(reinterpret_cast<float*>(shared), part, cut.parts, in_part, cut.strips_of_block(),
                             &sums[0][0]);
    if (part > 0) return;
  }

  const int y = first_row + row;
  if (y >= problem.result.height || in_block >= samples) return;
  for (int m = 0; m < kMaps; ++m) {
    const int map = tile * of_tile + group * kMaps + m;
    if (map >= problem.result.channels) return;
    const float base = bias == nullptr ? 0 : bias[map];
    const Index plane = static_cast<Index>(first_sample + in_block) * problem.result.channels + map;
    float* const to = result + (plane * problem.result.height + y) * problem.result.width;
#pragma unroll
    for (int x = 0; x < kStrip; x += 4) {
      const int first = strip * kStrip + x;
      const float four[4] = {sums[m][x] + base, sums[m][x + 1] + base, sums[m][x + 2] + base, sums[m][x + 3] + base};
      if (problem.result.width % 4 == 0) {  // and so each row is aligned
        if (first < problem.result.width) *reinterpret_cast<float4*>(to + first) = {four[0], four[1], four[2], four[3]};
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (first + i < problem.result.width) to[first + i] = four[i];
        }
      }
    }
  }
}

// How a convolution's weights lie in memory, and how they are to.
struct WeightsOrder {
  int outputs;   // of the problem that they serve
  int channels;
  int taps;      // of a window
  bool turned;   // the problem's outputs are the convolution's channels, and its window is turned around
};

// Of each tile, channel and place of the window all the tile's outputs together, zeros where a tile has more than there
// are.
inline void ArrangeWeights(const Context& context, const WeightsOrder& order, int tiles, int of_tile,
                           const float* weights, float* arranged) {
  ForEach(context, static_cast<std::size_t>(tiles) * order.channels * order.taps * of_tile,
          [order, by_tile = FastDivisor(of_tile), by_taps = FastDivisor(order.taps),
           by_channels = FastDivisor(order.channels), weights, arranged] __device__(Index i) {
            const Index place = by_tile.Divide(i), row = by_taps.Divide(place), tile = by_channels.Divide(row);
            const int tap = place - row * order.taps, channel = row - tile * order.channels;
            const int output = tile * by_tile.divisor() + (i - place * by_tile.divisor());
            const int from = order.turned ? (channel * order.outputs + output) * order.taps + order.taps - 1 - tap
                                          : (output * order.channels + channel) * order.taps + tap;
            arranged[i] = output < order.outputs ? weights[from] : 0;
          });
}

template <int kKernel, int kStride, int kStrip, int kMaps>
void RunDirect(const Context& context, const DirectProblem& problem, int batch, const float* source,
               const float* weights, const float* bias, float* result) {
  const DirectCut cut = CutDirect<kKernel, kStride, kStrip, kMaps>(context, problem, batch);
  const std::size_t floats = 2 * cut.stage_floats(kKernel * kKernel, kMaps);
  DirectKernel<kKernel, kStride, kStrip, kMaps><<<dim3(CeilDivide(batch, cut.samples), cut.bands, cut.tiles),
                                                  cut.threads(), floats * sizeof(float), context.stream()>>>(
      problem, cut, batch, source, weights, bias, result);
  Check(cudaGetLastError(), "starting a kernel");
}

// The gradient of weights: a thread has a row of the window of one channel, for kMaps outputs' channels, and goes over
// strips of the outputs' gradient. A block has some channels, and some of all bands; threads to spare take turns with
// rows. What comes of each is stored apart, as a piece {outputs, channels * kernel * kernel + 1}, whose last column is
// for the bias.
struct WeightsCut {
  int groups = 0;    // of kMaps outputs' channels, in a block
  int tiles = 0;
  int channels = 0;  // in a block; 0 where the problem does not fit
  int chunks = 0;    // that make up all channels
  int turns = 0;     // that threads take with the rows of a band
  int strips = 0;
  int rows = 0;      // of a band
  int bands = 0;
  int splits = 0;    // blocks that share all bands of all samples
  RowLayout source;
  RowLayout gradient;

  __host__ __device__ int threads_of_turn(int kernel) const { return groups * channels * kernel; }
  __host__ __device__ int stage_floats(int maps) const {
    return channels * source.of_channel() + groups * maps * gradient.of_channel();
  }
  int pieces() const { return splits * turns; }
};

template <int kKernel, int kStride, int kStrip, int kMaps>
WeightsCut CutWeights(const Context& context, const DirectProblem& problem, int batch) {
  WeightsCut cut;
  cut.groups = std::min((problem.result.channels + kMaps - 1) / kMaps, 8);
  cut.tiles = (problem.result.channels + cut.groups * kMaps - 1) / (cut.groups * kMaps);
  const int most_channels = std::max(1, kMostDirectThreads / (cut.groups * kKernel));
  cut.chunks = (problem.source.channels + most_channels - 1) / most_channels;
  cut.channels = (problem.source.channels + cut.chunks - 1) / cut.chunks;
  cut.strips = (problem.result.width + kStrip - 1) / kStrip;
  const FastDivisor pitch((cut.strips - 1) * kStrip * kStride + kWindow<kKernel, kStride, kStrip>);
  for (cut.rows = std::min(problem.result.height, 8); cut.rows > 0; --cut.rows) {
    if (problem.result.height % cut.rows != 0 && cut.rows > 3) continue;
    cut.source = {FastDivisor((cut.rows - 1) * kStride + kKernel), pitch};
    cut.gradient = {FastDivisor(cut.rows), FastDivisor(cut.strips * kStrip)};
    if (static_cast<std::size_t>(cut.stage_floats(kMaps)) <= kMostStageFloats) break;
  }
  if (cut.rows == 0) return {};
  cut.bands = (problem.result.height + cut.rows - 1) / cut.rows;
  cut.turns = std::clamp(128 / cut.threads_of_turn(kKernel), 1, cut.rows);
  constexpr int kBlocksAtATime = kStrip == 8 ? 2 : 4;  // on a multiprocessor, as registers allow
  const int wanted = kBlocksAtATime * context.multiprocessors() / (cut.chunks * cut.tiles);
  cut.splits = std::clamp(wanted, 1, batch * cut.bands);
  return cut;
}

template <int kKernel, int kStride, int kStrip, int kMaps>
__global__ void __launch_bounds__(kMostDirectThreads)
    DirectWeightsKernel(DirectProblem problem, WeightsCut cut, int batch, const float* source,
                        const float* result_gradient, float* pieces) {
  extern __shared__ float4 shared[];
  const int of_stage = cut.stage_floats(kMaps), of_source = cut.channels * cut.source.of_channel();
  const int pitch = cut.source.pitch.divisor(), gradient_pitch = cut.gradient.pitch.divisor();

  const int of_turn = cut.threads_of_turn(kKernel);
  const int turn = threadIdx.x / of_turn, in_turn = threadIdx.x % of_turn;
  const int group = in_turn / (cut.channels * kKernel), place = in_turn % (cut.channels * kKernel);
  const int channel = place / kKernel, window_row = place % kKernel;
  const int first_channel = blockIdx.y * cut.channels;
  const int channels = min(cut.channels, problem.source.channels - first_channel);
  const int first_map = blockIdx.z * cut.groups * kMaps;
  const int maps = min(cut.groups * kMaps, problem.result.channels - first_map);
  const bool sums_bias = blockIdx.y == 0 && place == 0;

  const int items = batch * cut.bands;
  const auto begin = [&](int stage, int item) {
    if (item < items) {
      const Index sample = item / cut.bands;
      const int first_row = (item - static_cast<int>(sample) * cut.bands) * cut.rows;
      float* const to = reinterpret_cast<float*>(shared) + stage * of_stage;
      BeginCopy(
          source + (sample * problem.source.channels + first_channel) * (problem.source.height * problem.source.width),
          problem.source, channels, first_row * kStride - problem.pad, -problem.pad, cut.source, to);
      BeginCopy(result_gradient +
                    (sample * problem.result.channels + first_map) * (problem.result.height * problem.result.width),
                problem.result, maps, first_row, 0, cut.gradient, to + of_source);
    }
    __pipeline_commit();
  };

  float sums[kMaps][kKernel] = {};
  float bias_sums[kMaps] = {};
  begin(0, blockIdx.x);
  for (int item = blockIdx.x, stage = 0; item < items; item += gridDim.x, stage = 1 - stage) {
    begin(1 - stage, item + gridDim.x);
    __pipeline_wait_prior(1);
    __syncthreads();
    const float* const staged = reinterpret_cast<const float*>(shared) + stage * of_stage;
    const float* const gradients = staged + of_source + group * kMaps * cut.gradient.of_channel();
    for (int y = turn; channel < channels && y < cut.rows; y += cut.turns) {
      const float* const at = staged + channel * cut.source.of_channel() + (y * kStride + window_row) * pitch;
      for (int strip = 0; strip < cut.strips; ++strip) {
        float window[kWindow<kKernel, kStride, kStrip>];
        LoadFours<kWindow<kKernel, kStride, kStrip>>(at + strip * kStrip * kStride, window);
        const float* const gradient = gradients + y * gradient_pitch + strip * kStrip;
#pragma unroll
        for (int m = 0; m < kMaps; ++m) {
          // Channels beyond the last have what was there before; nobody asks for what comes of it.
          float g[kStrip];
          LoadFours<kStrip>(gradient + m * cut.gradient.of_channel(), g);
#pragma unroll
          for (int x = 0; x < kStrip; ++x) {
#pragma unroll
            for (int j = 0; j < kKernel; ++j) sums[m][j] += g[x] * window[x * kStride + j];
          }
          if (sums_bias) {
#pragma unroll
            for (int x = 0; x < kStrip; ++x) bias_sums[m] += g[x];
          }
        }
      }
    }
    __syncthreads();
  }

  if (channel >= channels) return;
  const Index columns = problem.source.channels * kKernel * kKernel + 1;
  float* const piece = pieces + (blockIdx.x * cut.turns + turn) * (problem.result.channels * columns);
  for (int m = 0; m < kMaps; ++m) {
    if (group * kMaps + m >= maps) return;
    float* const to = piece + (first_map + group * kMaps + m) * columns;
    const int first = ((first_channel + channel) * kKernel + window_row) * kKernel;
#pragma unroll
    for (int j = 0; j < kKernel; ++j) to[first + j] = sums[m][j];
    if (sums_bias) to[columns - 1] = bias_sums[m];
  }
}

template <int kKernel, int kStride, int kStrip, int kMaps>
void RunDirectWeights(const Context& context, const DirectProblem& problem, int batch, const float* source,
                      const float* result_gradient, float* pieces) {
  const WeightsCut cut = CutWeights<kKernel, kStride, kStrip, kMaps>(context, problem, batch);
  const std::size_t floats = 2 * cut.stage_floats(kMaps);
  DirectWeightsKernel<kKernel, kStride, kStrip, kMaps>
      <<<dim3(cut.splits, cut.chunks, cut.tiles), cut.turns * cut.threads_of_turn(kKernel), floats * sizeof(float),
         context.stream()>>>(problem, cut, batch, source, result_gradient, pieces);
  Check(cudaGetLastError(), "starting a kernel");
}

}  // namespace downpour::kernels::cuda
