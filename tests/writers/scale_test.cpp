// A guest of 64 GiB that is nearly empty, read from a stream of a record per page and converted.
// Memory is O(runs), never O(RAM).

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "support/pc_stream.h"
#include "support/reading.h"
#include "writers/writing.h"

namespace vmconvert::test {
namespace {

// A sanitizer's own memory would be measured along.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMeasured = false;
#else
constexpr bool kMeasured = true;
#endif
#if defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kRam = 16 * kGiB;  // ten times as slow
#else
constexpr std::uint64_t kRam = 64 * kGiB;
#endif
constexpr std::uint64_t kMostMemory = 256 * kMiB;

// A page of content, then zero pages.
constexpr std::uint64_t kGroupPages = 4096;
constexpr std::uint64_t kPageRecord = 8 + 4096, kZeroRecord = 8 + 1;
constexpr std::uint64_t kGroupSize = kPageRecord + (kGroupPages - 1) * kZeroRecord;
constexpr std::uint64_t kGroups = kRam / 4096 / kGroupPages;

/// A stream that is worked out as it is read.
class GeneratedStream final : public ByteSource {
 public:
  GeneratedStream() : content_(page_of(1)) {
    QevmBuilder head = pc("pc-q35-10.0");
    head.ram_start({{"pc.ram", kRam, {}}});
    // Names the block; each group then has no name in its records.
    head.raw(ByteWriter().u8(0x02).be32(2).append(RamPayload().zero("pc.ram", 0).bytes()).bytes());
    head_ = head.bytes();
    QevmBuilder tail;
    tail.raw(ByteWriter().be64(0x10).u8(0x7e).be32(2).bytes());
    tail_ = tail.ram_end().eos().description().bytes();
  }

  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return head_.size() + kGroups * kGroupSize + tail_.size(); }

  void read_at(FileOffset at, std::span<std::byte> out) const override {
    std::uint64_t from = at.value;
    while (!out.empty()) {
      const std::uint64_t n = read_some(from, out);
      from += n;
      out = out.subspan(n);
    }
  }

 private:
  std::uint64_t read_some(std::uint64_t from, std::span<std::byte> out) const {
    const std::uint64_t records = head_.size();
    const std::uint64_t end = records + kGroups * kGroupSize;
    if (from < records) return copy(head_, from, out);
    if (from >= end) return copy(tail_, from - end, out);
    const std::uint64_t group = (from - records) / kGroupSize;
    return copy_group(group, (from - records) % kGroupSize, out);
  }

  static std::uint64_t copy(const Bytes& bytes, std::uint64_t from, std::span<std::byte> out) {
    const std::uint64_t n = std::min<std::uint64_t>(bytes.size() - from, out.size());
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(from), n, out.begin());
    return n;
  }

  /// As much of one record as is wanted.
  std::uint64_t copy_group(std::uint64_t group, std::uint64_t inside,
                           std::span<std::byte> out) const {
    const bool is_page = inside < kPageRecord;
    const std::uint64_t index = is_page ? 0 : 1 + (inside - kPageRecord) / kZeroRecord;
    const std::uint64_t byte = is_page ? inside : (inside - kPageRecord) % kZeroRecord;
    const std::uint64_t size = is_page ? kPageRecord : kZeroRecord;
    const std::uint64_t word = (group * kGroupPages + index) * 4096 | (is_page ? 0x28 : 0x22);
    const std::uint64_t n = std::min<std::uint64_t>(size - byte, out.size());
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint64_t b = byte + i;
      out[i] = b < 8     ? static_cast<std::byte>(word >> (56 - 8 * b))
               : is_page ? content_[b - 8]
                         : std::byte{0};
    }
    return n;
  }

  std::string name_ = "generated";
  Bytes content_;
  Bytes head_;
  Bytes tail_;
};

bool has_content(int fd, std::uint64_t at, const Bytes& expected) {
  Bytes bytes(expected.size());
  return ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(at)) == std::ssize(bytes) &&
         bytes == expected;
}

int run() {
  const auto begin = std::chrono::steady_clock::now();
  const ReadResult result = read_source(std::make_shared<GeneratedStream>());
  if (!result.image) {
    std::printf("read: %s\n", result.error.c_str());
    return 1;
  }
  const GuestImage& image = *result.image;
  const OutputPlan plan = plan_of("elf", image);
  const std::string folder = std::filesystem::temp_directory_path().string();
  const UniqueFd fd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  FileSink sink(fd.get(), folder, true);
  CountingProgress progress;
  try {
    execute(plan, image, sink, 2, progress);
  } catch (const Error& error) {
    std::printf("skipped: no sparse file of this size can be written: %s\n", error.what());
    return 77;
  }
  // The last group begins 16 MiB before the end of the guest.
  const std::uint64_t last = plan.size - kGroupPages * 4096;
  if (!has_content(fd.get(), last, page_of(1)) ||
      !has_content(fd.get(), last + 4096, Bytes(4096))) {
    std::printf("the content is wrong\n");
    return 1;
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const std::uint64_t used = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  std::printf("%s of guest, %zu runs: %s of memory, %.1f s\n", human_size(kRam).c_str(),
              image.runs.runs().size(), human_size(used).c_str(), seconds.count());
  return kMeasured && used > kMostMemory ? 1 : 0;
}

}  // namespace
}  // namespace vmconvert::test

int main() { return vmconvert::test::run(); }
