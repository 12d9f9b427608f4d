#include "ps/page_buffer.h"

#include <sys/mman.h>

namespace downpour::ps {

PageBuffer::PageBuffer(size_t elements) {
  if (elements == 0) return;
  const size_t bytes = elements * sizeof(float);
  void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return;
  madvise(pages, bytes, MADV_HUGEPAGE);  // Only advice: without it, things are slower.
  data_ = static_cast<float*>(pages);
  size_ = elements;
}

PageBuffer::~PageBuffer() {
  if (data_ != nullptr) munmap(data_, size_ * sizeof(float));
}

}  // namespace downpour::ps
