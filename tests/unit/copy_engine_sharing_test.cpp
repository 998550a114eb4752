#include <atomic>
#include <random>

#include "support/image_bytes.h"
#include "support/random_image.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// A source that says it is a file.
class FileLike final : public ByteSource {
 public:
  explicit FileLike(std::shared_ptr<const ByteSource> source) : source_(std::move(source)) {}
  const std::string& name() const override { return source_->name(); }
  std::uint64_t size() const override { return source_->size(); }
  void read_at(FileOffset at, std::span<std::byte> out) const override {
    source_->read_at(at, out);
  }
  int descriptor() const override { return 0; }

 private:
  std::shared_ptr<const ByteSource> source_;
};

/// Shares by copying, up to a number of times. Places and sizes must be as it says.
class SharingSink final : public ByteSink {
 public:
  explicit SharingSink(unsigned times) : left_(times) {}
  bool seekable() const override { return true; }
  void begin(std::uint64_t size) override { sink_.begin(size); }
  void write_at(FileOffset at, std::span<const ConstBytes> pieces) override {
    sink_.write_at(at, pieces);
  }
  void zero_at(FileOffset, std::uint64_t) override {}
  bool share_at(FileOffset at, const ByteSource& source, FileRange part) override {
    if (at.value % 4096 != 0 || part.begin().value % 4096 != 0 || part.size() % 4096 != 0)
      throw std::logic_error("sharing off page borders");
    if (left_ == 0) return false;
    --left_;
    Bytes bytes(part.size());
    source.read_at(part.begin(), bytes);
    const ConstBytes piece(bytes);
    sink_.write_at(at, std::span(&piece, 1));
    shared_ += bytes.size();
    return true;
  }
  const Bytes& bytes() const { return sink_.bytes(); }
  std::uint64_t shared() const { return shared_; }

 private:
  MemorySink sink_;
  unsigned left_;
  std::uint64_t shared_ = 0;
};

constexpr unsigned kAlways = ~0U;

TEST_CASE("copy engine: what a sink shares is what it would have been given") {
  std::mt19937_64 random(11);
  std::uint64_t shared = 0;
  for (unsigned round = 0; round < 60; ++round) {
    GuestImage image = random_image(random);
    for (auto& source : image.sources) source = std::make_shared<FileLike>(source);
    const OutputPlan plan = random_plan(random, image);
    for (const unsigned times : {0U, 1U, kAlways}) {
      SharingSink sink(times);
      CountingProgress progress;
      execute(plan, image, sink, 1, progress);
      REQUIRE(sink.bytes() == naive_output(plan, image));
      shared += sink.shared();
    }
  }
  CHECK(shared > 0);
}

TEST_CASE("copy engine: large runs on page borders are shared, and need no room") {
  constexpr std::uint64_t kPage = 4096, kSize = 40 << 20;
  Bytes content(kSize + 2 * kPage);
  for (std::size_t i = 0; i < content.size(); i += 997) content[i] = static_cast<std::byte>(i >> 7);
  GuestImage image;
  image.sources.push_back(
      std::make_shared<FileLike>(std::make_shared<MemorySource>("source", content)));
  RunListBuilder runs(kPage);
  runs.add({guest_range(0, kSize), InFile{0, kPage, {kPage}}});
  image.runs = runs.finish();
  for (const std::uint64_t head : {kPage, kPage + 32}) {
    CAPTURE(head);
    const OutputPlan plan{head + kSize, {{{head}, kSize, GuestData{{0}}}}};
    SharingSink sink(kAlways);
    CountingProgress progress;
    execute(plan, image, sink, 1, progress);
    CHECK(sink.bytes() == naive_output(plan, image));
    CHECK(sink.shared() == (head == kPage ? kSize : 0));
    CHECK(data_bytes(plan, image, {true}) == (head == kPage ? 0 : kSize));
    CHECK(data_bytes(plan, image) == kSize);
  }
}

}  // namespace
}  // namespace vmconvert::test
