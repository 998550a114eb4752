#include <random>

#include "support/image_bytes.h"
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

/// Runs of all kinds, many of them on page borders of their source.
GuestImage random_guest(std::mt19937_64& random) {
  constexpr std::uint64_t kPage = 4096, kSource = 4 << 20;
  GuestImage image;
  for (unsigned i = 0; i < 2; ++i) {
    Bytes content(kSource);
    for (std::size_t at = 0; at < content.size(); at += 1 + random() % 2000)
      content[at] = static_cast<std::byte>(random());
    image.sources.push_back(
        std::make_shared<FileLike>(std::make_shared<MemorySource>("source", content)));
  }
  RunListBuilder runs(kPage);
  for (std::uint64_t at = 0; at < 12 << 20;) {
    const std::uint64_t size = (1 + random() % 60) * kPage;
    const GuestRange range = GuestRange::sized({at}, size);
    const std::uint64_t from = random() % 600 * kPage + (random() % 4 == 0 ? 32 : 0);
    const auto source = static_cast<SourceId>(random() % 2);
    if (random() % 5 == 0) {
      runs.add({range, Filled{static_cast<std::byte>(random() % 2)}});
    } else {
      const bool plain = random() % 4 != 0;
      runs.add(
          {range, InFile{source, static_cast<std::uint32_t>(kPage + (plain ? 0 : 8)), {from}}});
    }
    at += size + (random() % 6 == 0 ? kPage : 0);
  }
  image.runs = runs.finish();
  return image;
}

TEST_CASE("copy engine: what a sink shares is what it would have been given") {
  std::mt19937_64 random(11);
  for (unsigned round = 0; round < 8; ++round) {
    const GuestImage image = random_guest(random);
    PlanBuilder builder;
    for (const GuestRange extent : image.runs.extents()) {
      builder.literal(Bytes(random() % 2 == 0 ? 4096 : 100, std::byte{0x55}));
      if (random() % 3 != 0) builder.align(4096);
      builder.guest(extent);
    }
    const OutputPlan plan = std::move(builder).finish();
    const Bytes expected = naive_output(plan, image);
    for (const unsigned times : {0U, 3U, kAlways}) {
      SharingSink sink(times);
      CountingProgress progress;
      execute(plan, image, sink, 1, progress);
      REQUIRE(sink.bytes() == expected);
      CHECK((sink.shared() > 0) == (times > 0));
      CHECK(progress.done() == plan.size);
    }
  }
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
