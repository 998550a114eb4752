#include "vmconvert/base/text.h"

#include <cerrno>

#include "support/test.h"

namespace vmconvert {
namespace {

TEST_CASE("hex: lower case digits without leading zeros") {
  CHECK(hex(0) == "0x0");
  CHECK(hex(0x1F) == "0x1f");
  CHECK(hex(~std::uint64_t{0}) == "0xffffffffffffffff");
}

TEST_CASE("human_size: the largest unit and at most one decimal") {
  CHECK(human_size(0) == "0 bytes");
  CHECK(human_size(1) == "1 byte");
  CHECK(human_size(1023) == "1023 bytes");
  CHECK(human_size(1024) == "1 KiB");
  CHECK(human_size(1536) == "1.5 KiB");
  CHECK(human_size(std::uint64_t{1} << 20) == "1 MiB");
  CHECK(human_size(std::uint64_t{3} << 30) == "3 GiB");
  CHECK(human_size(std::uint64_t{1} << 60) == "1 EiB");
  CHECK(human_size(~std::uint64_t{0}) == "16.0 EiB");
}

TEST_CASE("human_size: never shows 1024 of a unit") {
  CHECK(human_size(1024 * 1024 - 1) == "1.0 MiB");
  CHECK(human_size((std::uint64_t{1} << 30) - 1) == "1.0 GiB");
  CHECK(human_size(1023 * 1024 + 900) == "1023.9 KiB");
}

TEST_CASE("printable: harmless text stays and the rest is quoted and escaped") {
  CHECK(printable("guest.save") == "guest.save");
  CHECK(printable("") == "");
  CHECK(printable("M\xc3\xbcller \xe2\x82\xac \xf0\x9f\x98\x80") ==
        "M\xc3\xbcller \xe2\x82\xac \xf0\x9f\x98\x80");
  CHECK(printable("a\nb") == R"("a\x0ab")");
  CHECK(printable("\x1b[31m") == R"("\x1b[31m")");
  CHECK(printable("a\x7f") == R"("a\x7f")");
  CHECK(printable(std::string_view("a\0b", 3)) == R"("a\x00b")");
}

TEST_CASE("printable: invalid UTF-8 is escaped byte by byte") {
  CHECK(printable("\xff") == R"("\xff")");
  CHECK(printable("\x80") == R"("\x80")");
  CHECK(printable("\xc3") == R"("\xc3")");          // cut off
  CHECK(printable("\xc3(") == R"("\xc3(")");        // no continuation
  CHECK(printable("\xc0\xaf") == R"("\xc0\xaf")");  // overlong
  CHECK(printable("\xf5\x80\x80\x80") == R"("\xf5\x80\x80\x80")");
  CHECK(printable("\xc2\x9b"
                  "31m") == R"("\xc2\x9b31m")");  // C1 control: CSI
}

TEST_CASE("printable: overlong and surrogate sequences are not UTF-8") {
  CHECK(printable("\xe0\x80\x9b") == R"("\xe0\x80\x9b")");
  CHECK(printable("\xf0\x80\x80\x9b") == R"("\xf0\x80\x80\x9b")");
  CHECK(printable("\xed\xa0\x80") == R"("\xed\xa0\x80")");
  CHECK(printable("\xf4\x90\x80\x80") == R"("\xf4\x90\x80\x80")");
}

TEST_CASE("quoted: quotes and backslashes are escaped") {
  CHECK(quoted("") == R"("")");
  CHECK(quoted(R"(a"b\c)") == R"("a\"b\\c")");
  CHECK(quoted("\xc3\xbc") == "\"\xc3\xbc\"");
  CHECK(quoted("\xc3\xbc\n") == R"("\xc3\xbc\x0a")");
}

TEST_CASE("utf8: bytes that are no UTF-8 are escaped, everything else stays") {
  CHECK(utf8("") == "");
  CHECK(utf8("a\x1b\n\"\\") == "a\x1b\n\"\\");
  CHECK(utf8("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80") == "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
  CHECK(utf8("a\xff\xc3\xa4\xc3") == "a\\xff\xc3\xa4\\xc3");
  CHECK(utf8("\xc0\x80\xed\xa0\x80") == "\\xc0\\x80\\xed\\xa0\\x80");
}

TEST_CASE("parse_size: numbers and binary units in either case") {
  CHECK(parse_size("0") == 0);
  CHECK(parse_size("4096") == 4096);
  CHECK(parse_size("4096B") == 4096);
  CHECK(parse_size("1k") == 1024);
  CHECK(parse_size("2M") == 2 << 20);
  CHECK(parse_size("3G") == std::uint64_t{3} << 30);
  CHECK(parse_size("3GB") == std::uint64_t{3} << 30);
  CHECK(parse_size("512MiB") == 512 << 20);
  CHECK(parse_size("1t") == std::uint64_t{1} << 40);
  CHECK(parse_size("0x80000000") == 0x80000000);
  CHECK(parse_size("0X10") == 16);
  CHECK(parse_size("0x10k") == 16384);
  CHECK(parse_size("18446744073709551615") == ~std::uint64_t{0});
  CHECK(parse_size("16777215T") == std::uint64_t{16777215} << 40);
}

TEST_CASE("parse_size: anything else is not a size") {
  for (const char* text : {"", "x", "0x", "-1", "+1", " 1", "1 ", "1 k", "1kk", "1i", "1ib",
                           "1kib2", "1.5G", "1p", "18446744073709551616", "16777216T", "1k\n"}) {
    CAPTURE(text);
    CHECK(!parse_size(text));
  }
}

TEST_CASE("utc_date: years up to 9999") {
  CHECK(utc_date(0) == "");
  CHECK(utc_date(1) == "1970-01-01T00:00:01Z");
  CHECK(utc_date(253402300799) == "9999-12-31T23:59:59Z");
  CHECK(utc_date(253402300800) == "");
  CHECK(utc_date(~std::uint64_t{0}) == "");
}

TEST_CASE("counted: one has no s") {
  CHECK(counted(0, "page") == "0 pages");
  CHECK(counted(1, "page") == "1 page");
  CHECK(counted(2, "page") == "2 pages");
}

TEST_CASE("error: what is unknown is left out of the message") {
  CHECK(std::string(Error(ErrorKind::io, "", std::nullopt, "why").what()) == "why");
  CHECK(std::string(Error(ErrorKind::io, "f", std::nullopt, "why").what()) == "f: why");
  CHECK(std::string(Error(ErrorKind::io, "f", 0, "why").what()) == "f: offset 0x0: why");
  CHECK(std::string(Error(ErrorKind::io, "a\nb", 16, "why").what()) ==
        R"("a\x0ab": offset 0x10: why)");
  CHECK(Error(ErrorKind::corrupt, "", 7, "").kind() == ErrorKind::corrupt);
  CHECK(Error(ErrorKind::corrupt, "", 7, "").offset() == 7);
  CHECK(std::string(io_error("f", 1, "write", ENOSPC).what()) ==
        "f: offset 0x1: write: No space left on device");
}

}  // namespace
}  // namespace vmconvert
