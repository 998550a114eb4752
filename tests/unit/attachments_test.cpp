#include "vmconvert/convert/attachments.h"

#include <algorithm>
#include <set>

#include "support/test.h"

namespace vmconvert {
namespace {

using Names = std::vector<std::string>;

std::string safe(const std::string& proposed) {
  return safe_file_names(std::vector{proposed}).front();
}

TEST_CASE("safe file names: plain names stay as they are") {
  for (const std::string name : {"domain.xml", "a b", "x", "screenshot-1.png", "A_(2)+[3],=@~"}) {
    CHECK(safe(name) == name);
  }
}

TEST_CASE("safe file names: nothing leads out of the folder, hides or acts") {
  CHECK(safe("../../etc/passwd") == "%2E.%2F..%2Fetc%2Fpasswd");
  CHECK(safe("/etc/passwd") == "%2Fetc%2Fpasswd");
  CHECK(safe(".") == "%2E");
  CHECK(safe("..") == "%2E.");
  CHECK(safe(".bashrc") == "%2Ebashrc");
  CHECK(safe("-rf") == "%2Drf");
  CHECK(safe("~root") == "%7Eroot");
  CHECK(safe(" a") == "%20a");
  CHECK(safe("a\\b") == "a%5Cb");
  CHECK(safe("100%") == "100%25");
  CHECK(safe(std::string("a\0b", 3)) == "a%00b");
  CHECK(safe("a\x1b[31m\n") == "a%1B[31m%0A");
  CHECK(safe("\x7f\xff\xc3\xa4") == "%7F%FF%C3%A4");
  CHECK(safe("") == "unnamed");
}

TEST_CASE("safe file names: long ones are cut, between escapes") {
  CHECK(safe(std::string(1000, 'x')) == std::string(200, 'x'));
  CHECK(safe(std::string(199, 'x') + "\xff") == std::string(199, 'x'));
  CHECK(safe(std::string(1000, '\xff')).size() == 198);
}

TEST_CASE("safe file names: twins get numbers, and none is taken twice") {
  CHECK(safe_file_names(Names{"a", "a", "a"}) == Names{"a", "a.2", "a.3"});
  CHECK(safe_file_names(Names{"a.2", "a", "a"}) == Names{"a.2", "a", "a.3"});
  CHECK(safe_file_names(Names{"a", "a", "a.2"}) == Names{"a", "a.2", "a.2.2"});
  CHECK(safe_file_names(Names{"", "unnamed"}) == Names{"unnamed", "unnamed.2"});
  CHECK(safe_file_names(Names{"/", "%2F"}) == Names{"%2F", "%252F"});
}

TEST_CASE("safe file names: random names are safe and different") {
  std::uint32_t state = 1;
  const auto random = [&] { return (state = state * 1664525 + 1013904223) >> 16; };
  constexpr std::string_view kAlphabet("./-\0\n\\%~a2\xff\xc3", 12);
  Names proposed;
  for (int i = 0; i < 20000; ++i) {
    std::string name;
    for (std::uint32_t n = random() % (i % 100 == 0 ? 400 : 6); n != 0; --n)
      name += kAlphabet[random() % kAlphabet.size()];
    proposed.push_back(name);
  }
  const Names names = safe_file_names(proposed);
  CHECK(names.size() == proposed.size());
  CHECK(std::set(names.begin(), names.end()).size() == names.size());
  const bool all_safe = std::all_of(names.begin(), names.end(), [](const std::string& name) {
    return !name.empty() && name.size() < 220 && name[0] != '.' && name[0] != '-' &&
           name[0] != '~' && std::all_of(name.begin(), name.end(), [](char c) {
             return c >= 0x20 && c < 0x7f && c != '/' && c != '\\';
           });
  });
  CHECK(all_safe);
}

GuestImage image_of(std::string text) {
  GuestImage image;
  const auto bytes = std::as_bytes(std::span(text));
  image.sources.push_back(
      std::make_shared<MemorySource>("file", std::vector(bytes.begin(), bytes.end())));
  return image;
}

std::string written(const Attachment& attachment, const GuestImage& image) {
  MemorySink sink;
  write_attachment(attachment, image, sink);
  return {reinterpret_cast<const char*>(sink.bytes().data()), sink.bytes().size()};
}

TEST_CASE("attachment: a part of a source is copied, whatever its size") {
  std::string text;
  for (int i = 0; text.size() < (5U << 19); ++i) text += std::to_string(i) + " ";
  const GuestImage image = image_of(text);
  for (const std::uint64_t size : {0U, 1U, 1U << 20, (1U << 20) + 1, 2U << 20}) {
    Attachment attachment;
    attachment.content = SourceBytes{0, FileRange::sized({7}, size)};
    CHECK(attachment_size(attachment) == size);
    CHECK(written(attachment, image) == text.substr(7, size));
  }
}

TEST_CASE("attachment: bytes of its own are written") {
  Attachment attachment;
  attachment.content = std::vector{std::byte{'a'}, std::byte{0}};
  CHECK(attachment_size(attachment) == 2);
  CHECK(written(attachment, {}) == std::string("a\0", 2));
}

TEST_CASE("attachment: one that reaches beyond its source is corrupt") {
  const GuestImage image = image_of("0123456789");
  Attachment attachment;
  attachment.content = SourceBytes{0, FileRange::sized({8}, 3)};
  CHECK(test::error_of([&] { written(attachment, image); }) ==
        "file: offset 0x8: what is embedded here reaches beyond the end");
}

}  // namespace
}  // namespace vmconvert
