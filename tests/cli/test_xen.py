"""What the command line promises for guests of Xen."""

import json
import struct

from harness import USAGE, Case, main

_PAGES = 40
_FIRST_MFN = 0x5000
_L4, _L3, _L2, _L1 = 30, 31, 32, 33


def _mfn(pfn: int) -> int:
    return _FIRST_MFN + pfn * 7


def _table(**slots: int) -> bytes:
    page = bytearray(4096)
    for name, entry in slots.items():
        struct.pack_into("<Q", page, 8 * int(name[1:]), entry)
    return bytes(page)


def core() -> bytes:
    """A dump-core of a PV guest of 40 pages and one vCPU, whose page tables map all of it."""
    link = lambda pfn, flags=0x67: _mfn(pfn) << 12 | flags
    pages = [bytes([pfn + 1]) * 4096 for pfn in range(_PAGES)]
    pages[_L4] = _table(s258=link(_L4, 0x63), s272=link(_L3))
    pages[_L3] = _table(s0=link(_L2))
    pages[_L2] = _table(s0=link(_L1))
    pages[_L1] = _table(**{f"s{pfn}": link(pfn, 0x25 if _L4 <= pfn <= _L1 else 0x67) for pfn in range(_PAGES)})

    note = lambda kind, desc: struct.pack("<III4s", 4, len(desc), kind, b"Xen") + desc
    notes = (note(0x2000000, b"") + note(0x2000001, struct.pack("<4Q", 0xF00FEBED, 1, _PAGES, 4096))
             + note(0x2000003, struct.pack("<Q", 1)))
    context = bytearray(5168)
    struct.pack_into("<Q", context, 512, 0x24)  # online, in the kernel
    struct.pack_into("<Q", context, 4984 + 3 * 8, _mfn(_L4) << 12)
    index = b"".join(struct.pack("<QQ", pfn, _mfn(pfn)) for pfn in range(_PAGES))
    names = b"\0.shstrtab\0.note.Xen\0.xen_prstatus\0.xen_pages\0.xen_p2m\0"
    parts = [(".shstrtab", names, 3, 0), (".note.Xen", notes, 7, 0), (".xen_prstatus", bytes(context), 1, 5168),
             (".xen_pages", b"".join(pages), 1, 4096), (".xen_p2m", index, 1, 16)]
    headers, content = bytearray(64), bytearray()
    begin = 64 + 64 * (len(parts) + 1)
    for name, data, kind, size in sorted(parts, key=lambda part: part[0] == ".shstrtab"):
        place = begin + len(content)
        content += data
        header = struct.pack("<IIQQQQIIQQ", names.index(name.encode() + b"\0"), kind, 0, 0, place, len(data), 0, 0, 1, size)
        headers += header
    ehdr = struct.pack("<4sBBBBB7xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 1, 4, 62, 1, 0, 0, 64, 0, 64, 56, 0, 64,
                       len(parts) + 1, len(parts))
    return ehdr + bytes(headers) + bytes(content)


class Layouts(Case):
    def setUp(self):
        super().setUp()
        self.core = self.write("guest.core", core())

    def test_page_tables_hold_guest_frames(self):
        self.convert(self.core, "-q", "-o", "out.raw")
        raw = (self.folder / "out.raw").read_bytes()
        self.assertEqual(len(raw), _PAGES * 4096)
        entry = struct.unpack_from("<Q", raw, _L1 * 4096 + 8 * 5)[0]
        self.assertEqual(entry, 5 << 12 | 0x67)
        self.assertEqual(raw[_L4 * 4096 + 8 * 258:][:8], bytes(8))

    def test_guest_that_is_not_linux_is_told(self):
        result = self.run_tool(self.core, "-o", "out.raw")
        self.assertEqual(result.err.decode(), f"vmconvert: warning: {self.core}: page tables of this PV guest were "
                         "translated, but no Linux kernel is reached through them: it runs another system, or they "
                         "are damaged\n")

    def test_log_lists_pages_that_differ(self):
        self.convert(self.core, "-q", "-o", "out.raw", "--remap-log", "log.json")
        log = json.loads((self.folder / "log.json").read_text())
        self.assertEqual([(page["pfn"], page["kind"]) for page in log["pages"]],
                         [(_L4, "L4"), (_L3, "L3"), (_L2, "L2"), (_L1, "L1")])
        self.assertEqual(log["pages"][3]["entries_rewritten"], _PAGES)

    def test_log_and_output_appear_both_or_not_at_all(self):
        self.write("log.json", b"mine")
        self.refuse("log.json: exists already (use --force to replace it)", self.core, "-o", "out.raw", "--remap-log", "log.json",
                    code=USAGE)
        self.assertNotIn("out.raw", self.names())
        self.refuse("out.raw: is the output and the log of --remap-log, too", self.core, "-o", "out.raw",
                    "--remap-log", "out.raw", code=USAGE)
        self.refuse("out.raw: is the output and the log of --remap-log, too", self.core, "-f", "-o", "out.raw",
                    "--remap-log", f"../{self.folder.name}/./out.raw", code=USAGE)
        self.assertNotIn("out.raw", self.names())

    def test_machine_frames_are_for_elf(self):
        self.convert(self.core, "-q", "-o", "out.elf", "--xen-layout", "machine")
        elf = (self.folder / "out.elf").read_bytes()
        paddrs = [struct.unpack_from("<Q", elf, 64 + 56 * number + 24)[0] for number in range(1, _PAGES + 1)]
        self.assertEqual(paddrs, [_mfn(pfn) << 12 for pfn in range(_PAGES)])
        for name in ("raw", "lime"):
            self.refuse(f"out.{name}: --xen-layout machine is for ELF: format {name} cannot tell where the guest sees "
                        "memory that lies by machine frames", self.core, "-o", f"out.{name}", "--xen-layout", "machine",
                        code=USAGE)
        self.refuse("log: --remap-log lists page tables that are translated; those of --xen-layout machine are not",
                    self.core, "-o", "other.elf", "--xen-layout", "machine", "--remap-log", "log", code=USAGE)

    def test_what_has_no_machine_frames_is_refused(self):
        self.small("in.qevm")
        self.refuse("in.qevm: holds no page tables with machine frames, which --xen-layout machine is for",
                    "in.qevm", "-o", "out.elf", "--xen-layout", "machine", code=USAGE)
        self.refuse("in.qevm: no page tables were translated, which --remap-log would list",
                    "in.qevm", "-o", "out.elf", "--remap-log", "log", code=USAGE)
        self.refuse('--xen-layout: "pfn" is not one of resolved, machine, asis (see: vmconvert --help)', self.core, "-o", "out.elf",
                    "--xen-layout", "pfn", code=USAGE)
        self.assertNotIn("log", self.names())


if __name__ == "__main__":
    main()
