// Each matrix M as a product P Q^T of `rank` columns, by one step of the power method from the last time's Q: P = M Q,
// made orthonormal, then Q = M^T P (Vogels, Karimireddy, Jaggi 2019, "PowerSGD"). The rows of a matrix are those of a
// tensor; what is in no matrix for which that saves half travels as it is. P P^T M is a projection of M: the error's
// square is never more than M's own.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/function_clones.h"
#include "kernels/split_mix.h"
#include "kernels/vector_ops.h"
#include "proto/codec/byte_reader.h"
#include "proto/codec/codec.h"

namespace downpour {
namespace {

constexpr uint32_t kMostRank = 64;
constexpr size_t kLanes = 16;

struct Matrix {
  uint32_t begin = 0;  // of the part's floats
  uint32_t rows = 0;
  uint32_t columns = 0;

  uint64_t size() const { return uint64_t{rows} * columns; }
  uint64_t end() const { return begin + size(); }
};

// Lanes are summed side by side, then added up: the order does not depend on the width of the CPU's vectors.
DOWNPOUR_CLONES
float Dot(const float* x, const float* y, size_t size) {
  float lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += x[i + lane] * y[i + lane];
  }
  for (size_t lane = 0; i < size; ++i, ++lane) lanes[lane] += x[i] * y[i];
  for (size_t width = kLanes / 2; width > 0; width /= 2) {
    for (size_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

// The factors of one matrix.
struct Factors {
  Factors(const Matrix& matrix, uint32_t rank)
      : p(size_t{matrix.rows} * rank), q(size_t{matrix.columns} * rank), rank(rank) {}

  std::span<float> P(uint32_t k) { return std::span(p).subspan(k * p.size() / rank, p.size() / rank); }
  std::span<float> Q(uint32_t k) { return std::span(q).subspan(k * q.size() / rank, q.size() / rank); }

  std::vector<float> p;  // one column after the other
  std::vector<float> q;  // likewise
  uint32_t rank;
};

// Modified Gram and Schmidt, twice, for columns that are nearly alike. A column that depends on those before becomes
// zero.
void Orthonormalize(Factors* factors) {
  for (uint32_t k = 0; k < factors->rank; ++k) {
    const std::span<float> column = factors->P(k);
    const double before = kernels::SumOfSquares(column);
    for (int pass = 0; pass < 2; ++pass) {
      for (uint32_t other = 0; other < k; ++other) {
        kernels::Axpy(-Dot(column.data(), factors->P(other).data(), column.size()), factors->P(other), column);
      }
    }
    const double square = kernels::SumOfSquares(column);
    if (square <= before * 1e-10 || square < 1e-60) {
      kernels::Zero(column);
    } else {
      kernels::Scale(static_cast<float>(1 / std::sqrt(square)), column);
    }
  }
}

class PowerSgdEncoder final : public Encoder {
 public:
  explicit PowerSgdEncoder(const EncoderSpec& spec) : rank_(std::min(spec.settings.rank, kMostRank)) {
    uint64_t draw = spec.seed;
    for (const RowRange& range : spec.rows) {
      if (range.row == 0) continue;
      const Matrix matrix = {range.begin, (range.end - range.begin) / range.row, range.row};
      if (matrix.size() < 2 * uint64_t{rank_} * (matrix.rows + uint64_t{matrix.columns})) continue;
      matrices_.push_back(matrix);
      Factors& factors = factors_.emplace_back(matrix, rank_);
      for (float& q : factors.q) {
        draw = kernels::SplitMix64(draw);
        q = static_cast<float>(static_cast<int64_t>(draw) >> 40) * 0x1p-23f;
      }
      first_.push_back(factors.q);
    }
  }

  void Encode(std::span<float> values, ByteBuffer* payload) override {
    payload->Append(rank_);
    payload->Append(static_cast<uint32_t>(matrices_.size()));
    payload->AppendAll(std::span<const Matrix>(matrices_));
    for (size_t i = 0; i < matrices_.size(); ++i) {
      Factor(values, matrices_[i], first_[i], &factors_[i]);
      payload->AppendAll(std::span<const float>(factors_[i].p));
      payload->AppendAll(std::span<const float>(factors_[i].q));
    }
    size_t at = 0;
    const auto as_it_is = [&](size_t end) {
      const std::span<float> between = values.subspan(at, end - at);
      payload->AppendAll(std::span<const float>(between));
      kernels::Zero(between);
    };
    for (const Matrix& matrix : matrices_) {
      as_it_is(matrix.begin);
      at = matrix.end();
    }
    as_it_is(values.size());
  }

 private:
  // Leaves the error in `values`.
  static void Factor(std::span<float> values, const Matrix& matrix, const std::vector<float>& first, Factors* factors) {
    const auto row = [&](uint32_t i) {
      return values.subspan(matrix.begin + size_t{i} * matrix.columns, matrix.columns);
    };
    // What was zero, or not finite, gives no direction.
    if (!kernels::AllFinite(factors->q) || kernels::SumOfSquares(factors->q) < 1e-30) factors->q = first;
    for (uint32_t i = 0; i < matrix.rows; ++i) {
      for (uint32_t k = 0; k < factors->rank; ++k) {
        factors->P(k)[i] = Dot(row(i).data(), factors->Q(k).data(), matrix.columns);
      }
    }
    // Values so large that their products are no floats any more: nothing is sent, all stays.
    if (!kernels::AllFinite(factors->p)) kernels::Zero(factors->p);
    Orthonormalize(factors);
    kernels::Zero(factors->q);
    for (uint32_t i = 0; i < matrix.rows; ++i) {
      for (uint32_t k = 0; k < factors->rank; ++k) kernels::Axpy(factors->P(k)[i], row(i), factors->Q(k));
    }
    for (uint32_t i = 0; i < matrix.rows; ++i) {
      for (uint32_t k = 0; k < factors->rank; ++k) kernels::Axpy(-factors->P(k)[i], factors->Q(k), row(i));
    }
  }

  const uint32_t rank_;
  std::vector<Matrix> matrices_;
  std::vector<Factors> factors_;           // of each matrix; q from the last time
  std::vector<std::vector<float>> first_;  // q of the first time
};

class PowerSgdDecoder final : public Decoder {
 public:
  PowerSgdDecoder(uint32_t rank, std::vector<Matrix> matrices, std::span<const std::byte> factors,
                  std::span<const std::byte> as_they_are)
      : rank_(rank), matrices_(std::move(matrices)), factors_(factors), as_they_are_(as_they_are) {}

  void Decode(std::span<float> out) override {
    while (!out.empty()) {
      const bool inside = matrix_ < matrices_.size() && at_ >= matrices_[matrix_].begin;
      const uint64_t until = inside                       ? matrices_[matrix_].end()
                             : matrix_ < matrices_.size() ? matrices_[matrix_].begin
                                                          : at_ + out.size();
      const std::span<float> now = out.first(std::min<uint64_t>(out.size(), until - at_));
      if (inside) {
        Multiply(matrices_[matrix_], now);
      } else {
        as_they_are_.ReadAll(now);
      }
      at_ += now.size();
      out = out.subspan(now.size());
      if (inside && at_ == until) {
        ++matrix_;
        read_ = false;
      }
    }
  }

 private:
  void Multiply(const Matrix& matrix, std::span<float> out) {
    if (!read_) {
      p_.resize(size_t{matrix.rows} * rank_);
      q_.resize(size_t{matrix.columns} * rank_);
      factors_.ReadAll(std::span(p_));
      factors_.ReadAll(std::span(q_));
      read_ = true;
    }
    for (size_t at = at_ - matrix.begin; !out.empty();) {
      const size_t row = at / matrix.columns;
      const size_t column = at % matrix.columns;
      const std::span<float> now = out.first(std::min<size_t>(out.size(), matrix.columns - column));
      kernels::Zero(now);
      for (uint32_t k = 0; k < rank_; ++k) {
        kernels::Axpy(p_[size_t{k} * matrix.rows + row],
                      std::span<const float>(q_).subspan(size_t{k} * matrix.columns + column, now.size()), now);
      }
      at += now.size();
      out = out.subspan(now.size());
    }
  }

  const uint32_t rank_;
  const std::vector<Matrix> matrices_;
  ByteReader factors_;
  ByteReader as_they_are_;
  uint64_t at_ = 0;
  size_t matrix_ = 0;  // the next, or the one that `at_` is in
  bool read_ = false;  // its factors are in p_ and q_
  std::vector<float> p_;
  std::vector<float> q_;
};

std::unique_ptr<Encoder> MakeEncoder(const EncoderSpec& spec) { return std::make_unique<PowerSgdEncoder>(spec); }

absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(std::span<const std::byte> bytes, uint32_t elements) {
  ByteReader in(bytes);
  uint32_t rank = 0;
  uint32_t count = 0;
  if (!in.Read(&rank) || !in.Read(&count) || count > in.left() / sizeof(Matrix)) {
    return absl::InvalidArgumentError("the matrices don't fit");
  }
  if (rank == 0 || rank > kMostRank) return absl::InvalidArgumentError(absl::StrCat("a rank of ", rank));
  std::vector<Matrix> matrices(count);
  in.ReadAll(std::span(matrices));
  uint64_t at = 0;
  uint64_t factors = 0;
  uint64_t inside = 0;
  for (const Matrix& matrix : matrices) {
    if (matrix.begin < at || matrix.size() == 0 || matrix.end() > elements) {
      return absl::InvalidArgumentError(
          absl::StrCat("a matrix of ", matrix.rows, " x ", matrix.columns, " at ", matrix.begin));
    }
    at = matrix.end();
    inside += matrix.size();
    factors += (uint64_t{matrix.rows} + matrix.columns) * rank * sizeof(float);
  }
  if (in.left() != factors + (elements - inside) * sizeof(float)) {
    return absl::InvalidArgumentError(absl::StrCat(in.left(),
                                                   " bytes behind the matrices' places; they and the rest need ",
                                                   factors + (elements - inside) * sizeof(float)));
  }
  const auto of_factors = in.Take(factors);
  return std::make_unique<PowerSgdDecoder>(rank, std::move(matrices), of_factors, in.rest());
}

}  // namespace

const Codec kPowerSgdCodec = {CodecId::kPowerSgd, "power_sgd", false, MakeEncoder, MakeDecoder};

}  // namespace downpour
