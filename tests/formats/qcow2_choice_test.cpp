#include "qemu/qcow2_reader.h"
#include "support/pc_stream.h"
#include "support/qcow2_builder.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// A state whose only page is page_of(number).
Bytes state(std::uint64_t number) {
  QevmBuilder stream = pc().ram_start({{"pc.ram", 4096, {}}});
  return stream.ram_part(RamPayload().page("pc.ram", 0, number).eos()).ram_end().eos().bytes();
}

constexpr std::uint32_t kDate = 1764045646;

Qcow2Image three() {
  Qcow2Image image;
  image.snapshots = {{.id = "1", .name = "before", .state = state(11)},
                     {.id = "2", .name = "disk"},
                     {.id = "3", .name = "after", .date = kDate + 3600, .state = state(33)}};
  return image;
}

ReadResult read_with(const Qcow2Image& image, const std::string& wanted) {
  return read_bytes(image.bytes(), {.snapshot = wanted});
}

constexpr const char* kThree =
    "1 \"before\" (2025-11-25T04:40:46Z, 4.1 KiB), 2 \"disk\" (2025-11-25T04:40:46Z, disk alone), "
    "3 \"after\" (2025-11-25T05:40:46Z, 4.1 KiB)";

TEST_CASE("qcow2: each state is found by ID and by name") {
  const Qcow2Image image = three();
  for (const char* wanted : {"1", "before"}) {
    const ReadResult result = read_with(image, wanted);
    REQUIRE(result.error == "");
    CHECK(is_page(*result.image, 0, 11));
  }
  for (const char* wanted : {"3", "after"}) {
    const ReadResult result = read_with(image, wanted);
    REQUIRE(result.error == "");
    CHECK(is_page(*result.image, 0, 33));
  }
}

TEST_CASE("qcow2: the only state is taken without asking") {
  Qcow2Image image = three();
  image.snapshots.pop_back();
  const ReadResult result = read_with(image, "");
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 0, 11));
}

TEST_CASE("qcow2: of several states one has to be chosen") {
  const ReadResult result = read_with(three(), "");
  CHECK(result.kind == ErrorKind::usage);
  CHECK(result.error ==
        std::string("input: holds 2 saved states; choose one with --snapshot ID or NAME: ") +
            kThree);
}

TEST_CASE("qcow2: a snapshot that is not there") {
  const ReadResult result = read_with(three(), "Before");
  CHECK(result.kind == ErrorKind::usage);
  CHECK(result.error ==
        std::string("input: there is no snapshot \"Before\" (there are: ") + kThree + ")");
  const ReadResult none = read_with({}, "x");
  CHECK(none.kind == ErrorKind::usage);
  CHECK(none.error == "input: there is no snapshot \"x\": the image holds none");
}

TEST_CASE("qcow2: a snapshot of the disk alone") {
  for (const char* wanted : {"2", "disk"}) {
    const ReadResult result = read_with(three(), wanted);
    CHECK(result.kind == ErrorKind::usage);
    CHECK(result.error ==
          "input: snapshot 2 \"disk\" is of the disk alone; it holds no saved machine state");
  }
}

TEST_CASE("qcow2: an ID wins over a name, with a warning") {
  Qcow2Image image = three();
  image.snapshots[0].name = "3";
  const ReadResult result = read_with(image, "3");
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 0, 33));
  CHECK(result.has_warning(
      "input: --snapshot \"3\" is the ID of one snapshot and the name of another; the ID is "
      "taken, as QEMU does"));
  image.snapshots[0].name = "1";  // of itself
  const ReadResult own = read_with(image, "1");
  CHECK(own.diagnostics->of(Diagnostics::Level::warning).empty());
}

TEST_CASE("qcow2: names and IDs that several have choose none") {
  Qcow2Image image = three();
  image.snapshots[2].name = "before";
  ReadResult result = read_with(image, "before");
  CHECK(result.kind == ErrorKind::usage);
  CHECK(
      result.error.starts_with("input: --snapshot \"before\" is the name of several; give the ID "
                               "(there are: 1 \"before\" (2025-11-25T04:40:46Z, 4.1 KiB), 2"));
  image.snapshots[2].id = "1";
  result = read_with(image, "1");
  CHECK(result.error.starts_with("input: --snapshot \"1\" is the ID of several (there are: 1 "));
}

TEST_CASE("qcow2: an image without any state is a disk image") {
  Qcow2Image image;
  ReadResult result = read_with(image, "");
  CHECK(result.kind == ErrorKind::unsupported);
  CHECK(result.error == "input: holds no saved machine state; it is a disk image");
  image.backing_file = "base";
  CHECK(read_with(image, "").error ==
        "input: holds no saved machine state; it is a disk image (the backing file is not looked "
        "into)");
  image.snapshots = {{.name = "disk"}};
  CHECK(read_with(image, "").error ==
        "input: holds no saved machine state; it is a disk image whose snapshots are of the disk "
        "alone (another disk of the machine may hold the state)");
}

TEST_CASE("qcow2: long lists are cut, names are escaped") {
  Qcow2Image image{.cluster_bits = 16};
  for (int i = 1; i <= 30; ++i) {
    image.snapshots.push_back({.id = std::to_string(i), .name = "\x1b[31m", .state = state(1)});
  }
  const std::string error = read_with(image, "").error;
  CHECK(error.find("20 \"\\x1b[31m\" (2025-11-25T04:40:46Z, 4.1 KiB) and 10 more snapshots") !=
        std::string::npos);
  CHECK(error.find("21 ") == std::string::npos);
}

TEST_CASE("qcow2: the table of snapshots") {
  const auto source = std::make_shared<MemorySource>("input", three().bytes());
  const auto snapshots = qemu::kQcow2.snapshots(Input(source, false));
  REQUIRE(snapshots.size() == 3);
  CHECK(snapshots[0].id == "1");
  CHECK(snapshots[0].name == "before");
  CHECK(snapshots[0].date == kDate);
  CHECK(snapshots[0].state_size == state(11).size());
  CHECK(snapshots[1].state_size == 0);
  CHECK(snapshots[2].date == kDate + 3600);
}

TEST_CASE("qcow2: the table of an encrypted image can be listed, its states cannot be read") {
  Qcow2Image image = three();
  image.luks = true;
  const auto source = std::make_shared<MemorySource>("input", image.bytes());
  CHECK(qemu::kQcow2.snapshots(Input(source, false)).size() == 3);
  const ReadResult result = read_with(image, "1");
  CHECK(result.kind == ErrorKind::unsupported);
  CHECK(
      result.error ==
      "input: is encrypted (LUKS), the machine state too; let QEMU load the snapshot with the key "
      "(-S -loadvm NAME) and save it with migrate");
}

}  // namespace
}  // namespace vmconvert::test
