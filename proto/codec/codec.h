// Codecs: a part's floats in fewer bytes, and back. Their layouts are described in README.md.
//
// A new codec is one file beside this one, one line in table.cc, a number in CodecId that nobody had before, and a name
// in job.proto's `choices`; the contract test walks the table, so it is tested from then on.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/codec/byte_buffer.h"
#include "proto/frame.h"
#include "proto/payload.h"

namespace downpour {

// Decoders are asked for this many floats at a time.
inline constexpr size_t kBlockElements = 4096;

// What some codecs go by. Each says in its file which of these it reads.
struct CodecSettings {
  double share = 0.01;      // of the elements
  float threshold = 0.001;  // of a float's magnitude
  uint32_t rank = 4;        // of a matrix's approximation

  friend bool operator==(const CodecSettings&, const CodecSettings&) = default;
};

// A tensor's rows, or some of them, in a part: floats [begin, end), `row` in each row, whose first one begins at
// `begin`.
struct RowRange {
  uint32_t begin = 0;
  uint32_t end = 0;
  uint32_t row = 0;

  friend bool operator==(const RowRange&, const RowRange&) = default;
};

// Of one part of one sender: it may keep draws and directions from one call to the next. One thread at a time.
class Encoder {
 public:
  virtual ~Encoder() = default;

  // Appends `values`, as many as the encoder was made for and all finite, to `payload`, and takes from them what that
  // stands for: what stays in `values` is the error.
  virtual void Encode(std::span<float> values, ByteBuffer* payload) = 0;

  // Likewise of values that stay as they are, by a codec that leaves nothing out. False, with nothing done, in any
  // other.
  virtual bool EncodeWhole(std::span<const float>, ByteBuffer*) { return false; }

  // Goes by these settings from the next call on. False where it can't, and another has to be made.
  virtual bool Use(const CodecSettings&) { return false; }
};

// Reads what an encoder wrote, from front to back, and believes nothing. One thread at a time.
class Decoder {
 public:
  virtual ~Decoder() = default;

  // The next floats: kBlockElements of them, or those that are left.
  virtual void Decode(std::span<float> out) = 0;
};

// Likewise of the floats that a payload says something of; all others are zero.
class SparseDecoder {
 public:
  virtual ~SparseDecoder() = default;

  // The next of them: their places, which ascend over all calls, each once and each of the part, and what they are.
  // Says how many; 0 at the end. `places` may be empty in all calls, where nobody wants to know.
  virtual size_t Next(std::span<uint32_t> places, std::span<float> values) = 0;
};

struct EncoderSpec {
  uint32_t elements = 0;
  std::span<const RowRange> rows;  // ascending; read while the encoder is made
  CodecSettings settings;
  uint64_t seed = 0;
};

struct Codec {
  CodecId id = CodecId::kRaw;
  absl::string_view name;
  // Parameters may travel so, not only what is added to them: each float comes out near what it was, whatever the
  // others.
  bool for_parameters = false;
  // Null in raw, whose payload is the floats.
  std::unique_ptr<Encoder> (*encoder)(const EncoderSpec&) = nullptr;
  // Borrows the bytes. InvalidArgument where they can't be so many floats of this codec.
  absl::StatusOr<std::unique_ptr<Decoder>> (*decoder)(std::span<const std::byte>, uint32_t elements) = nullptr;
  // Likewise; null where a payload says something of each float.
  absl::StatusOr<std::unique_ptr<SparseDecoder>> (*sparse_decoder)(std::span<const std::byte>,
                                                                   uint32_t elements) = nullptr;
  bool lossless = false;
  bool varies = false;  // how many bytes a payload takes is a matter of the values, not of their number alone
};

extern const Codec kRawCodec;
extern const Codec kBf16Codec;
extern const Codec kFp16Codec;
extern const Codec kInt8Codec;
extern const Codec kOneBitCodec;
extern const Codec kTopKCodec;
extern const Codec kThresholdCodec;
extern const Codec kRandomKCodec;
extern const Codec kPowerSgdCodec;
extern const Codec kSparseCodec;

// All codecs, in the order in which they are listed to people.
std::span<const Codec* const> Codecs();

// Null when there is no such codec.
const Codec* FindCodec(CodecId id);
// InvalidArgument with the known names when there is no such codec.
absl::StatusOr<const Codec*> FindCodec(absl::string_view name);

}  // namespace downpour
