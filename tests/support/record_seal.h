// Makes the checksums of a file of records (ps/record_file.h) right again, so that what else is wrong is seen.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace downpour::tests {

inline constexpr size_t kRecordFileHead = 16;
inline constexpr size_t kRecordHead = 32;

inline void SealRecords(std::string* bytes) {
  const auto crc = [](const char* at, size_t size) {
    return static_cast<uint32_t>(crc32(0, reinterpret_cast<const unsigned char*>(at), static_cast<unsigned>(size)));
  };
  for (size_t at = kRecordFileHead; at + kRecordHead <= bytes->size();) {
    uint32_t size = 0;
    std::memcpy(&size, bytes->data() + at, sizeof(size));
    if (size <= bytes->size() - at - kRecordHead) {
      const uint32_t body = crc(bytes->data() + at + kRecordHead, size);
      std::memcpy(bytes->data() + at + 4, &body, sizeof(body));
    }
    const uint32_t head = crc(bytes->data() + at, kRecordHead - 4);
    std::memcpy(bytes->data() + at + kRecordHead - 4, &head, sizeof(head));
    if (size > bytes->size() - at - kRecordHead) return;
    at += kRecordHead + size;
  }
}

}  // namespace downpour::tests
