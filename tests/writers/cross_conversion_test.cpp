#include "all_formats.h"
#include "support/random_image.h"
#include "support/reading.h"
#include "support/test.h"
#include "vmconvert/convert/choose_format.h"
#include "writers/writing.h"

namespace vmconvert::test {
namespace {

/// Reads what a writer wrote, as a format of the same name.
GuestImage read_back(std::string_view format, Bytes bytes) {
  const auto source = std::make_shared<MemorySource>("input", std::move(bytes));
  CollectingDiagnostics diagnostics;
  const GuestImage image =
      choose_format(all_formats(), format, *source).read(Input(source, false), {}, diagnostics);
  check_image(image);
  return image;
}

Bytes written(const OutputFormat& writer, const GuestImage& image) {
  return executed(writer.plan(image, {}), image);
}

TEST_CASE("writers: every output turns into every other") {
  for (unsigned seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const GuestImage image = random_image(random, {.pages = 200, .longest_run = 40});
    for (const OutputFormat& from : all_writers()) {
      const GuestImage again = read_back(from.name, written(from, image));
      for (const OutputFormat& to : all_writers()) {
        // In a raw image the holes have become memory.
        if (from.name == "raw" && to.name != "raw") continue;
        CAPTURE(from.name);
        CAPTURE(to.name);
        REQUIRE(written(to, again) == written(to, image));
      }
    }
  }
}

TEST_CASE("writers: a vmcore keeps registers and notes when it is converted again") {
  std::mt19937_64 random(1);
  GuestImage image = random_image(random, {.pages = 20});
  image.vcpus.resize(3);
  std::get<X86Registers>(image.vcpus[1]).rip = 0xffffffff81234567;
  image.vmcoreinfo = Vmcoreinfo{"OSRELEASE=6.1\n", "test"};
  const OutputFormat& elf = choose_output_format(all_writers(), "elf", "");
  const Bytes once = written(elf, image);
  const GuestImage again = read_back("elf", once);
  CHECK(again.notes.size() == 7);
  CHECK(again.vmcoreinfo->text == "OSRELEASE=6.1\n");
  CHECK(written(elf, again) == once);
}

}  // namespace
}  // namespace vmconvert::test
