#include "proto/codec/sparse_reader.h"

#include "absl/strings/str_cat.h"

namespace downpour {

absl::StatusOr<std::unique_ptr<SparseReader>> SparseReader::Open(CodecId id, const Payload& payload,
                                                                 uint32_t elements) {
  const Codec* const codec = FindCodec(id);
  if (codec == nullptr || codec->sparse_decoder == nullptr) return nullptr;
  const auto refuse = [codec](const absl::Status& status) {
    return absl::InvalidArgumentError(absl::StrCat("no ", codec->name, " payload: ", status.message()));
  };
  auto coded = CodedPayload::Parse(payload, elements);
  if (!coded.ok()) return refuse(coded.status());
  if (!coded->exempt().empty()) return nullptr;
  auto decoder = codec->sparse_decoder(coded->encoded(), elements);
  if (!decoder.ok()) return refuse(decoder.status());
  return std::unique_ptr<SparseReader>(new SparseReader(*std::move(coded), *std::move(decoder)));
}

}  // namespace downpour
