#include "all_formats.h"
#include "support/checkpoint_builder.h"
#include "support/fastlz_stream.h"
#include "support/image_bytes.h"
#include "support/memory_folder.h"
#include "support/qevm_builder.h"
#include "support/scratch_folder.h"
#include "support/test.h"
#include "vmconvert/convert/choose_format.h"
#include "vmware/vmware_reader.h"

namespace vmconvert::test {
namespace {

using Files = std::map<std::string, Bytes>;

// A region that no rule would make: only the state tells.
Bytes state(std::uint64_t ppn = 0x300) {
  CheckpointBuilder file;
  file.group("Checkpoint").number("Platform", {}, 1);
  file.group("memory").regions({{0, ppn, 2}});
  return file.bytes();
}
Bytes memory() { return page_of(7, 8192); }
Bytes encrypted(unsigned kind) {
  return ByteWriter().le32(0x8943dd9e).le32(kind).le32(4064).fill(5000).bytes();
}

/// Where memory was found; the error if it was not.
std::string placed(const Files& files, const std::string& name, const ReadOptions& options = {}) {
  const ReadResult result = read_in_folder(files, name, options);
  if (!result.image) return result.error;
  if (result.image->runs.empty()) return "nowhere";
  return hex(result.image->runs.begin()->guest.begin().value);
}

constexpr const char* kUuid = "564d1b0a-8A7c-1f2e-3d4c-0123456789ab";

TEST_CASE("vmware pair: either half leads to the other") {
  for (const char* extension : {".vmss", ".vmsn", ".VMSN", ".Vmss"}) {
    const std::string name = std::string("vm") + extension;
    const Files files{{name, state()}, {"vm.vmem", memory()}, {"other.vmem", Bytes(4096)}};
    CHECK(placed(files, name) == "0x300000");
    CHECK(placed(files, "vm.vmem") == "0x300000");
  }
  const Files snapshot{{"vm.vmss", state(0x100)},
                       {"vm.vmem", memory()},
                       {"VM-Snapshot12.vmsn", state(0x400)},
                       {"vm-snapshot12.VMEM", memory()},
                       {"vm.vmx.vmss", state(0x500)},
                       {"vm.vmx.vmem", memory()}};
  CHECK(placed(snapshot, "VM-Snapshot12.vmsn") == "0x400000");
  CHECK(placed(snapshot, "vm-snapshot12.VMEM") == "0x400000");
  CHECK(placed(snapshot, "vm.vmss") == "0x100000");
  CHECK(placed(snapshot, "vm.vmx.vmem") == "0x500000");
  // Of the two kinds of states the suspended one.
  CHECK(placed({{"vm.vmsn", state(0x400)}, {"vm.vmss", state(0x200)}, {"vm.vmem", memory()}},
               "vm.vmem") == "0x200000");
}

TEST_CASE("vmware pair: of several that differ in case only the exact one is taken, or none") {
  Files files{{"vm.vmss", state()}, {"VM.vmem", Bytes(8192)}, {"vm.vmem", memory()}};
  CHECK(placed(files, "vm.vmss") == "0x300000");
  files.erase("vm.vmem");
  files["Vm.vmem"] = memory();
  CHECK(placed(files, "vm.vmss") ==
        "vm.vmss: has several files beside it that could be its memory: VM.vmem, Vm.vmem; name one "
        "with --memory");
  CHECK(placed({{"vm.vmem", memory()}, {"VM.vmss", state()}, {"Vm.vmss", state()}}, "vm.vmem") ==
        "vm.vmem: has several files beside it that could be its state: VM.vmss, Vm.vmss; name one "
        "with --state");
}

TEST_CASE("vmware pair: a memory file with a UUID for a name") {
  for (const std::string& name : {std::string(kUuid), std::string(kUuid) + ".vmem"}) {
    Files files{{"vm-Snapshot1.vmsn", state()}, {name, memory()}, {"vm.vmx", Bytes(8192)}};
    const ReadResult result = read_in_folder(files, "vm-Snapshot1.vmsn");
    REQUIRE(result.error == "");
    CHECK(result.has_warning(name +
                             " beside it is taken for its memory, by its name and size alone"));
    CHECK(guest_bytes(*result.image, 0x300000, 8192) == memory());
    // Another size, a second file, a second state: nothing tells.
    const std::string missing =
        "vm-Snapshot1.vmsn: holds no memory, and there is no vm-Snapshot1.vmem beside it; name the "
        "file with --memory, if the state was saved with memory";
    Files other = files;
    other[name] = page_of(1, 4096);
    CHECK(placed(other, "vm-Snapshot1.vmsn") == missing);
    other = files;
    other["00000000-0000-0000-0000-000000000000"] = memory();
    CHECK(placed(other, "vm-Snapshot1.vmsn") == missing);
    other = files;
    other["vm-Snapshot2.vmsn"] = state();
    CHECK(placed(other, "vm-Snapshot1.vmsn") == missing);
  }
  const std::string name = std::string(kUuid) + ".vmem";
  Files files{{"vm.vmss", state()}, {name, memory()}};
  const ReadResult result = read_in_folder(files, name);
  CHECK(result.has_warning("vm.vmss beside it is taken for its state, as the only one there"));
  CHECK(placed(files, name) == "0x300000");
  files["vm.vmem"] = memory();  // then that state is of another file
  CHECK(placed(files, name) == "0x0");
}

TEST_CASE("vmware pair: memory alone is laid out by the rule, with a warning") {
  const ReadResult result = read_in_folder({{"vm.vmem", memory()}}, "vm.vmem");
  REQUIRE(result.error == "");
  CHECK(
      result.has_warning("nothing tells where memory lies: 8 KiB of RAM from address 0 on is a "
                         "guess (name the saved state with --state)"));
  CHECK(result.has_warning("does not tell the guest's architecture; x86_64 is assumed"));
  CHECK(guest_bytes(*result.image, 0, 8192) == memory());
  CHECK(placed({{"vm.vmem", memory()}}, "vm.vmem", {.machine = machine_by_name("aarch64")}) ==
        "0x80000000");
  CHECK(placed({{"vm.vmem", memory()}}, "vm.vmem", {.machine = machine_by_name("s390x")}) ==
        "vm.vmem: VMware has no guests of s390x");
  // What merely begins like a small compressed block is not taken for memory.
  const Bytes small = ByteWriter().le32(1).le32(0).le32(1).le32(0).fill(100).bytes();
  CHECK(placed({{"file", small}}, "file").find("is in none of the known formats") !=
        std::string::npos);
  CHECK(
      placed({{"vm.vmem", page_of(1, 5000)}}, "vm.vmem") ==
      "vm.vmem: the memory is cut off after 4.9 KiB, more is described (--salvage converts what is "
      "there)");
}

TEST_CASE("vmware pair: a state without memory says what is missing") {
  const Files files{{"a folder.vmsn", state()}};
  CHECK(
      placed(files, "a folder.vmsn") ==
      "a folder.vmsn: holds no memory, and there is no a folder.vmem beside it; name the file with "
      "--memory, if the state was saved with memory");
  CHECK(
      placed({{"evil\x1b.vmsn", state()}}, "evil\x1b.vmsn") ==
      "\"evil\\x1b.vmsn\": holds no memory, and there is no \"evil\\x1b.vmem\" beside it; name the "
      "file with --memory, if the state was saved with memory");
  CHECK(read_bytes(state()).error ==
        "input: holds no memory; name the file of its memory with --memory");
  // What looks at the rest does not need it.
  const ReadResult result = read_in_folder(files, "a folder.vmsn", {.memory_needed = false});
  CHECK(result.image->runs.empty());
  CHECK(result.has_warning("holds no memory, and there is no a folder.vmem beside it"));
}

TEST_CASE("vmware pair: halves named by hand") {
  const ScratchFolder scratch;
  write_file(scratch.path("some state"), state());
  write_file(scratch.path("some memory"), memory());
  CollectingDiagnostics diagnostics;
  const auto read = [&](const std::string& name, const std::string& format, ReadOptions options) {
    const Input input = Input::open(scratch.path(name), false, diagnostics);
    return read_image(choose_format(all_formats(), format, *input.source()), input, options,
                      diagnostics);
  };
  const auto by_memory = read("some state", "", {.memory_file = scratch.path("some memory")});
  CHECK(guest_bytes(by_memory, 0x300000, 8192) == memory());
  const auto by_state =
      read("some memory", "vmware-vmem", {.state_file = scratch.path("some state")});
  CHECK(guest_bytes(by_state, 0x300000, 8192) == memory());
  CHECK(error_of([&] { read("some state", "", {.memory_file = scratch.path("nothing")}); }) ==
        scratch.path("nothing") + ": open: No such file or directory");
  CHECK(error_of([&] { read("some state", "", {.memory_file = scratch.path(".")}); }) ==
        scratch.path(".") + ": read: Is a directory");
  CHECK(error_of([&] { read("some state", "", {.state_file = scratch.path("some state")}); }) ==
        scratch.path("some state") + ": --state makes no sense for vmware");
  CHECK(error_of([&] { read("some memory", "raw", {.memory_file = scratch.path("x")}); }) ==
        scratch.path("some memory") + ": --memory makes no sense for raw");
  CHECK(error_of([&] {
          read("some memory", "vmware-vmem", {.state_file = scratch.path("some memory")});
        }).find("is not that of a VMware checkpoint") != std::string::npos);
}

TEST_CASE("vmware pair: the user's memory is taken rather than the one inside") {
  CheckpointBuilder file;
  file.group("memory").regions({{0, 0x300, 2}}).block("Memory", {0, 0}, Bytes(8192));
  const Files files{{"vm.vmss", file.bytes()}, {"vm.vmem", memory()}};
  ReadResult result = read_in_folder(files, "vm.vmss");
  CHECK(guest_bytes(*result.image, 0x300000, 8192) == Bytes(8192));
  result = read_in_folder(files, "vm.vmem");
  CHECK(guest_bytes(*result.image, 0x300000, 8192) == memory());
  CHECK(result.has_warning("holds memory of its own, which is left aside for vm.vmem"));
}

TEST_CASE("vmware pair: encrypted files are recognised and named") {
  const std::string rest =
      "; remove the encryption in VMware and save it again, or decrypt it with crypto-util on an "
      "ESXi that has the key";
  CHECK(placed({{"vm.vmsn", encrypted(1)}}, "vm.vmsn") ==
        "vm.vmsn: is the encrypted state of a virtual machine" + rest);
  CHECK(placed({{"vm.vmem", encrypted(2)}}, "vm.vmem") ==
        "vm.vmem: is the encrypted memory of a virtual machine" + rest);
  CHECK(placed({{"vm.nvram", encrypted(9)}}, "vm.nvram") == "vm.nvram: is encrypted" + rest);
  CHECK(placed({{"vm.vmss", state()}, {"vm.vmem", encrypted(2)}}, "vm.vmss") ==
        "vm.vmem: is the encrypted memory of a virtual machine" + rest);
  CHECK(placed({{"vm.vmss", encrypted(1)}, {"vm.vmem", memory()}}, "vm.vmem") ==
        "vm.vmss: is the encrypted state of a virtual machine" + rest);
}

TEST_CASE("vmware pair: what is beside is compared with what the state says") {
  const Bytes longer = page_of(7, 3 * 4096);
  const ReadResult result = read_in_folder({{"vm.vmss", state()}, {"vm.vmem", longer}}, "vm.vmss");
  CHECK(result.has_warning("vm.vmem: 4 KiB of the memory are beyond all regions, and left out"));
  CHECK(
      placed({{"vm.vmss", state()}, {"vm.vmem", Bytes()}}, "vm.vmss") ==
      "vm.vmem: the memory is cut off after 0 bytes, more is described (--salvage converts what is "
      "there)");
}

}  // namespace
}  // namespace vmconvert::test
