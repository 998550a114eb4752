#include "support/checkpoint_builder.h"
#include "support/encoded_ram.h"
#include "support/reading.h"
#include "support/test.h"
#include "vmconvert/convert/attachments.h"
#include "vmconvert/convert/png.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kPage = 4096;
const ReadOptions kDetails{.details = true, .memory_needed = false};

/// A picture as libpng writes it.
Bytes picture(std::uint32_t width) {
  Screen screen{.width = width, .height = 3, .rgb = {}, .origin = ""};
  for (std::uint32_t i = 0; i < width * 3 * 3; ++i)
    screen.rgb.push_back(static_cast<std::byte>(i * 37));
  return encode_png(screen);
}

Bytes text(std::string_view characters) { return ByteWriter().text(characters).bytes(); }

Bytes joined(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// A state of one page, to which a test adds its groups.
CheckpointBuilder with_memory() {
  CheckpointBuilder file;
  file.group("memory").block("Memory", {0, 0}, Bytes(kPage, std::byte{7}));
  return file;
}

Bytes content(const GuestImage& image, const Attachment& file) {
  const auto* place = std::get_if<SourceBytes>(&file.content);
  if (place == nullptr) return std::get<Bytes>(file.content);
  Bytes bytes(place->range.size());
  image.sources.at(place->source)->read_at(place->range.begin(), bytes);
  return bytes;
}

std::vector<std::string> names(const GuestImage& image) {
  std::vector<std::string> list;
  for (const Attachment& file : image.attachments) list.push_back(file.name);
  return list;
}

GuestImage read(const CheckpointBuilder& file) {
  ReadResult result = read_bytes(file.bytes(), kDetails);
  CHECK(result.error == "");
  return std::move(result.image).value();
}

using Names = std::vector<std::string>;

TEST_CASE("vmware embedded: the main picture comes first and ends where the PNG does") {
  const Bytes first = picture(5), second = picture(9);
  CheckpointBuilder file = with_memory();
  file.group("SVGA").block("shot", {2}, second);
  file.group("MKSVMX")
      .number("checkpoint.mks.numScreenshots", {}, 2)
      .block("imageData", {}, joined(first, Bytes(100, std::byte{0xee})), {.padding = 3});
  const GuestImage image = read(file);
  REQUIRE(names(image) == Names{"screenshot.png", "screenshot-2.png"});
  CHECK(content(image, image.attachments[0]) == first);
  CHECK(content(image, image.attachments[1]) == second);
  for (const Attachment& shot : image.attachments) {
    CHECK(shot.kind == Attachment::Kind::screenshot);
    CHECK(shot.media_type == "image/png");
  }
}

TEST_CASE("vmware embedded: a picture without its end is given as far as it goes") {
  const Bytes whole = picture(5);
  for (const int less : {1, 4, 12, 20}) {
    const Bytes cut(whole.begin(), whole.end() - less);
    CheckpointBuilder file = with_memory();
    file.group("MKSVMX").block("imageData", {}, cut);
    const GuestImage image = read(file);
    REQUIRE(names(image) == Names{"screenshot.png"});
    CHECK(content(image, image.attachments[0]) == cut);
  }
  // A chunk that claims more than there is.
  Bytes wild = picture(5);
  std::fill_n(wild.begin() + 8, 4, std::byte{0xff});
  CheckpointBuilder file = with_memory();
  file.group("MKSVMX").block("imageData", {}, wild);
  const GuestImage image = read(file);
  CHECK(content(image, image.attachments.at(0)) == wild);
}

TEST_CASE("vmware embedded: a picture that is no PNG is no screenshot") {
  CheckpointBuilder file = with_memory();
  file.group("MKSVMX").block("imageData", {}, text("GIF89a..")).block("more", {}, {});
  const ReadResult result = read_bytes(file.bytes(), kDetails);
  REQUIRE(result.image);
  CHECK(result.has_warning("input: imageData of the screen is no PNG file"));
  CHECK(names(*result.image) == Names{"MKSVMX.imageData.bin", "MKSVMX.more.bin"});
  CHECK(result.image->attachments[0].kind == Attachment::Kind::other);
}

TEST_CASE("vmware embedded: configuration and firmware have names of their own") {
  CheckpointBuilder file = with_memory();
  file.group("Cs440bx").block("romImage", {0}, text("rom"));
  file.group("Snapshot")
      .block("cfgFile", {}, text("guestOS = \"other\"\n"))
      .block("nvramFile", {}, text("nvram"))
      .block("extendedConfigFile", {}, text("<Foundry/>"));
  const GuestImage image = read(file);
  CHECK(names(image) == Names{"bios.rom", "guest.vmx", "guest.nvram", "guest.vmxf"});
  CHECK(image.attachments.at(1).kind == Attachment::Kind::configuration);
  CHECK(content(image, image.attachments.at(1)) == text("guestOS = \"other\"\n"));
  CHECK(content(image, image.attachments.at(2)) == text("nvram"));
}

TEST_CASE("vmware embedded: every other block is a file, the memory is not") {
  CheckpointBuilder file = with_memory();
  file.group("DMA").number("count", {}, 1).block("a", {1, 2, 3}, text("x")).block("b", {}, {});
  const GuestImage image = read(file);
  CHECK(names(image) == Names{"DMA.a.1.2.3.bin", "DMA.b.bin"});
  CHECK(attachment_size(image.attachments.at(1)) == 0);
}

TEST_CASE("vmware embedded: whatever names are, files lie in their folder") {
  CheckpointBuilder file = with_memory();
  file.group("../..").block("/etc/passwd", {}, text("1")).block("%n\x1b[31m\xff", {}, text("2"));
  file.group("").block("", {}, text("3")).block(std::string(255, '/'), {}, text("4"));
  const GuestImage image = read(file);
  CHECK(safe_file_names(names(image)) == Names{"%2E.%2F...%2Fetc%2Fpasswd.bin",
                                               "%2E.%2F...%25n%1B[31m%FF.bin", "%2E.bin",
                                               "%2E" + [] {
                                                 std::string slashes;
                                                 for (int i = 0; i < 65; ++i) slashes += "%2F";
                                                 return slashes;
                                               }()});
}

TEST_CASE("vmware embedded: compressed blocks are expanded, or given as they are") {
  const Bytes plain(5000, std::byte{'a'});
  CheckpointBuilder file = with_memory();
  file.group("Snapshot")
      .block("cfgFile", {}, zlib_of(plain), {.compressed = true, .memory_size = plain.size()});
  file.group("x").block("odd", {}, text("????"), {.compressed = true, .memory_size = 99});
  file.group("y").block("same", {}, text("same"), {.compressed = true});
  const ReadResult result = read_bytes(file.bytes(), kDetails);
  REQUIRE(result.image);
  CHECK(names(*result.image) == Names{"guest.vmx", "x.odd.packed", "y.same.bin"});
  CHECK(content(*result.image, result.image->attachments[0]) == plain);
  CHECK(content(*result.image, result.image->attachments[1]) == text("????"));
  CHECK(content(*result.image, result.image->attachments[2]) == text("same"));
  CHECK(result.has_warning("odd is compressed in an unknown way; it is extracted as it is stored"));
}

TEST_CASE("vmware embedded: very many blocks that cannot be expanded are counted") {
  CheckpointBuilder file = with_memory();
  file.group("x");
  for (std::uint32_t i = 0; i < 20; ++i)
    file.block("odd", {i}, text("????"), {.compressed = true, .memory_size = 99});
  const ReadResult result = read_bytes(file.bytes(), kDetails);
  REQUIRE(result.image);
  CHECK(result.image->attachments.size() == 20);
  CHECK(result.diagnostics->of(Diagnostics::Level::warning).size() == 10);
  CHECK(result.has_warning("input: 12 more blocks cannot be expanded"));
}

TEST_CASE("vmware embedded: damage costs no more than what is sound") {
  const Bytes whole = zlib_of(Bytes(1 << 20)), damaged(whole.begin(), whole.end() - 5);
  CheckpointBuilder file = with_memory();
  file.group("x");
  for (std::uint32_t i = 0; i < 70; ++i)
    file.block("b", {i}, damaged, {.compressed = true, .memory_size = 1 << 20});
  const ReadResult result = read_bytes(file.bytes(), kDetails);
  REQUIRE(result.image);
  CHECK(result.has_warning("input: 62 more blocks cannot be expanded"));
}

TEST_CASE("vmware embedded: blocks that would take too much memory to expand stay packed") {
  const Bytes plain(1 << 20);
  CheckpointBuilder file = with_memory();
  file.group("bomb").block("b", {}, zlib_of(plain),
                           {.compressed = true, .memory_size = (std::uint64_t{64} << 20) + 1});
  const ReadResult result = read_bytes(file.bytes(), kDetails);
  REQUIRE(result.image);
  CHECK(names(*result.image) == Names{"bomb.b.packed"});
  CHECK(result.has_warning("b has 67108865 bytes, 67108864 at most are read"));
}

TEST_CASE("vmware embedded: groups that share a list give its blocks once") {
  CheckpointBuilder file = with_memory();
  file.group("a").block("b", {}, text("x"));
  const std::uint64_t begin = 12 + 80 * 3 + (8 + 8 + 2 + 8 + 8 + kPage + 2);
  file.group("c").at(begin);
  CHECK(names(read(file)) == Names{"a.b.bin"});
}

TEST_CASE("vmware embedded: blocks that overlap do not multiply what the file holds") {
  // Each block holds the tags of the next group and all behind them.
  constexpr std::size_t kGroups = 40, kHead = 2 + 1 + 8 + 8 + 2;
  CheckpointBuilder file;
  const std::size_t begin = 12 + 80 * (kGroups + 1);
  file.group("first");
  for (std::size_t i = 0; i < kGroups; ++i) {
    const std::uint64_t rest = (kGroups - i) * kHead + 2000;
    file.raw(ByteWriter().u8(0x3f).u8(1).text("b").le64(rest).le64(rest).le16(0).bytes());
  }
  file.raw(Bytes(kHead + 2000));
  for (std::size_t i = 0; i < kGroups; ++i) file.group("g").at(begin + (i + 1) * kHead);
  const ReadResult result = read_bytes(file.bytes(), kDetails);
  REQUIRE(result.image);
  std::uint64_t total = 0;
  for (const Attachment& one : result.image->attachments) total += attachment_size(one);
  CHECK(total <= file.bytes().size());
  CHECK(result.has_warning("blocks cannot be extracted: there are too many, or they overlap"));
}

TEST_CASE("vmware embedded: very many blocks are cut short") {
  CheckpointBuilder file = with_memory();
  file.group("many");
  for (std::uint32_t i = 0; i < 16400; ++i) file.block("b", {i}, {});
  const ReadResult result = read_bytes(file.bytes(), kDetails);
  REQUIRE(result.image);
  CHECK(result.image->attachments.size() == 16384);
  CHECK(result.has_warning("input: 16 blocks cannot be extracted"));
}

TEST_CASE("vmware embedded: nothing is looked for unless it is asked for") {
  CheckpointBuilder file = with_memory();
  file.group("MKSVMX").block("imageData", {}, picture(4));
  const ReadResult result = read_bytes(file.bytes());
  REQUIRE(result.image);
  CHECK(result.image->attachments.empty());
  CHECK(result.image->metadata.facts.empty());
}

}  // namespace
}  // namespace vmconvert::test
