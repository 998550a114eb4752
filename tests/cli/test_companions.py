"""Machines that are saved in two files: how one leads to the other, and what is said when it does not."""

import json
import struct

from harness import FAILED, USAGE, Case, main

_MEMORY = bytes(range(256)) * 32  # two pages


def _tag(name: str, value: int, *indices: int) -> bytes:
    head = struct.pack("<BB", len(indices) << 6 | 4, len(name)) + name.encode()
    return head + struct.pack(f"<{len(indices) + 1}I", *indices, value)


def _state() -> bytes:
    """A VMware checkpoint with two regions that no rule would make: pages 1 and 3, the other way round."""
    tags = _tag("regionsCount", 2)
    for number, (place, page) in enumerate(((1, 1), (0, 3))):
        tags += _tag("regionPageNum", place, number) + _tag("regionPPN", page, number) + _tag("regionSize", 1, number)
    row = struct.pack("<64sQQ", b"memory", 92, len(tags) + 2)
    return struct.pack("<3I", 0xBED2BED2, 8, 1) + row + tags + bytes(2)


class Companions(Case):
    def setUp(self):
        super().setUp()
        self.write("vm.vmss", _state())
        self.write("vm.vmem", _MEMORY)
        self.raw = bytes(4096) + _MEMORY[4096:] + bytes(4096) + _MEMORY[:4096]

    def check(self, *args):
        self.convert(*args, "--arch", "x86_64", "-o", "out.raw", "-f")
        self.assertEqual((self.folder / "out.raw").read_bytes(), self.raw)

    def test_either_half_leads_to_the_other(self):
        self.check("vm.vmss")
        self.check("vm.vmem")
        self.check("./vm.vmss")
        self.check(self.folder / "vm.vmem")

    def test_halves_named_by_hand(self):
        (self.folder / "other").mkdir()
        (self.folder / "vm.vmem").rename(self.folder / "other/memory")
        self.check("vm.vmss", "--memory", "other/memory")
        self.check("other/memory", "--from", "vmware-vmem", "--state", "vm.vmss")
        self.refuse("vm.vmss: --state makes no sense for vmware", "vm.vmss", "--state", "vm.vmss", "-o", "x.raw",
                    code=USAGE)

    def test_standard_input_has_no_folder(self):
        with (self.folder / "vm.vmss").open("rb") as state:
            self.refuse("standard input: holds no memory; name the file of its memory with --memory",
                        "-", "--arch", "x86_64", "-o", "x.raw", stdin=state)
        with (self.folder / "vm.vmss").open("rb") as state:
            self.convert("-", "--memory", "vm.vmem", "--arch", "x86_64", "-o", "in.raw", stdin=state)
        self.assertEqual((self.folder / "in.raw").read_bytes(), self.raw)

    def test_the_other_half_is_not_overwritten(self):
        self.refuse("vm.vmem: is the input itself", "vm.vmss", "--arch", "x86_64", "-o", "vm.vmem", "--to", "raw",
                    "-f", code=USAGE)
        self.refuse("vm.vmss: is the input itself", "vm.vmem", "--arch", "x86_64", "-o", "vm.vmss", "--to", "raw",
                    "-f", code=USAGE)
        self.assertEqual((self.folder / "vm.vmem").read_bytes(), _MEMORY)

    def test_a_state_without_memory(self):
        (self.folder / "vm.vmem").unlink()
        why = ("holds no memory, and there is no vm.vmem beside it; name the file with --memory, "
               "if the state was saved with memory")
        self.refuse(f"vm.vmss: {why}", "vm.vmss", "--arch", "x86_64", "-o", "x.raw", code=FAILED)
        report = json.loads(self.run_tool("info", "--json", "vm.vmss").out)
        self.assertEqual(report["format"]["name"], "vmware")
        self.assertIn(why, report["warnings"])

    def test_memory_alone(self):
        (self.folder / "vm.vmss").unlink()
        result = self.run_tool("vm.vmem", "-o", "alone.raw")
        self.assertIn(b"warning: vm.vmem: nothing tells where memory lies: 8 KiB of RAM from address 0 on is a guess",
                      result.err)
        self.assertEqual((self.folder / "alone.raw").read_bytes(), _MEMORY)


if __name__ == "__main__":
    main()
