#include "vmconvert/convert/choose_format.h"

#include <array>

#include "support/byte_writer.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::error_of;

GuestImage no_image(const Input&, const ReadOptions&, Diagnostics&) { return {}; }
OutputPlan no_plan(const GuestImage&, const WriteOptions&) { return {}; }

template <char kYes, char kMaybe>
Match by_first_byte(const ProbeWindow& window) noexcept {
  const char first = static_cast<char>(window.head.front());
  return first == kYes ? Match::yes : first == kMaybe ? Match::maybe : Match::no;
}

constexpr std::array kFormats{
    Format{"one", "", by_first_byte<'1', 'm'>, no_image},
    Format{"two", "", by_first_byte<'2', 'm'>, no_image},
    Format{"three", "", by_first_byte<'2', '3'>, no_image},
    Format{"four", "", by_first_byte<'3', '1'>, no_image},
};

std::string chosen(std::string_view content, std::string_view wanted = "") {
  const auto bytes = test::as_bytes(content);
  const MemorySource source("in\nput", {bytes.begin(), bytes.end()});
  return error_of([&] {
    const Format& format = choose_format(kFormats, wanted, source);
    throw Error(ErrorKind::usage, "", std::nullopt, format.name);
  });
}

TEST_CASE("choose_format: yes beats maybe and order does not matter") {
  CHECK(chosen("1") == "one");
  CHECK(chosen("3") == "four");
}

TEST_CASE("choose_format: two that say the same are named") {
  CHECK(chosen("2") == R"("in\x0aput": could be two or three; choose one with --from)");
  CHECK(chosen("m") == R"("in\x0aput": could be one or two; choose one with --from)");
}

TEST_CASE("choose_format: what was tried is listed if none knows the input") {
  CHECK(chosen("x") ==
        R"("in\x0aput": is in none of the known formats (tried: one, two, three, four))");
  CHECK(chosen("") == R"("in\x0aput": is empty)");
}

TEST_CASE("choose_format: a format that is asked for is not probed") {
  CHECK(chosen("x", "three") == "three");
  CHECK(chosen("", "three") == "three");
  CHECK(chosen("1", "thr\x1b") ==
        R"(unknown input format "thr\x1b" (there are: one, two, three, four))");
}

TEST_CASE("choose_format: a probe sees the first 64 KiB and the true size") {
  static constexpr auto check = [](const ProbeWindow& window) noexcept {
    return window.head.size() == 65536 && window.size == 65537 ? Match::yes : Match::no;
  };
  static constexpr std::array formats{Format{"f", "", check, no_image}};
  const MemorySource source("s", std::vector<std::byte>(65537));
  CHECK(choose_format(formats, "", source).name == "f");
}

std::string chosen_output(std::string_view name, std::string_view wanted = "") {
  static constexpr std::array<std::string_view, 2> kElf{".elf", ".core"};
  static constexpr std::array<std::string_view, 1> kRaw{".raw"};
  static constexpr std::array formats{OutputFormat{"elf", "", kElf, no_plan},
                                      OutputFormat{"raw", "", kRaw, no_plan}};
  return error_of([&] {
    const OutputFormat& format = choose_output_format(formats, wanted, name);
    throw Error(ErrorKind::usage, "", std::nullopt, format.name);
  });
}

TEST_CASE("choose_output_format: the suffix decides in either case") {
  CHECK(chosen_output("a.elf") == "elf");
  CHECK(chosen_output("folder.raw/a.x.CORE") == "elf");
  CHECK(chosen_output(".raw") == "raw");
}

TEST_CASE("choose_output_format: an unknown suffix lists what there is") {
  const std::string rest =
      ": the output format cannot be told from this name; give --to elf|raw or one of the suffixes "
      ".elf .core .raw";
  CHECK(chosen_output("a.txt") == "a.txt" + rest);
  CHECK(chosen_output("folder.raw/a") == "folder.raw/a" + rest);
  CHECK(chosen_output("raw") == "raw" + rest);
  CHECK(chosen_output("-") == "-" + rest);
}

TEST_CASE("choose_output_format: what is asked for wins over the suffix") {
  CHECK(chosen_output("a.elf", "raw") == "raw");
  CHECK(chosen_output("a.elf", "lime") == R"(unknown output format "lime" (there are: elf, raw))");
}

}  // namespace
}  // namespace vmconvert
