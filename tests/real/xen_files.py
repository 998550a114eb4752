"""Readers of what Xen's toolstack writes, from its format descriptions and sharing nothing with vmconvert.

Only what xl of the lab writes: 64-bit guests, streams of version 3.
"""

import os
import re
import struct
from pathlib import Path

import images
from context import Failed

PAGE = images.PAGE
FRAME = 0x000FFFFFFFFFF000     # of a page-table entry
NONE = (1 << 64) - 1
_SECTION = struct.Struct("<IIQQQQIIQQ")
_RECORD = struct.Struct("<II")
_LIBXC_CONTEXT, _PAGE_DATA, _END = 1, 1, 0
_WITHOUT_DATA = (13, 14, 15)   # broken, only to be allocated, not there
_VCPUS = 16 + 16 + 8           # in the notes: behind an empty one and the head of the second
_FLAGS, _USER_REGISTERS, _CR3 = 512, 520, 5008   # in vcpu_guest_context
_ORDER = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi error rip cs rflags rsp ss es ds fs gs").split()
_P2M_ADDRESS = 3120            # in shared_info


class Pages:
    """Guest pages of a file: pfn -> where."""

    def __init__(self, path: Path):
        self.path = path
        self.at: dict[int, int] = {}
        self._file = os.open(path, os.O_RDONLY)

    def bytes(self, size: int, offset: int) -> bytes:
        data = os.pread(self._file, size, offset)
        if len(data) != size:
            raise Failed(f"{self.path.name}: ends before {offset + size:#x}")
        return data

    def read(self, pfn: int) -> bytes:
        return self.bytes(PAGE, self.at[pfn])

    def close(self):
        os.close(self._file)


class Core(Pages):
    """A dump-core. `frames`: the machine frame of each page of a PV guest, else empty."""

    def __init__(self, path: Path):
        super().__init__(path)
        header = self.bytes(64, 0)
        offset, (size, count, names) = int.from_bytes(header[40:48], "little"), struct.unpack("<HHH", header[58:64])
        sections = [_SECTION.unpack(self.bytes(size, offset + number * size)) for number in range(count)]
        text = self.bytes(sections[names][5], sections[names][4])
        self._sections = {text[entry[0]:].split(b"\0")[0].decode(): entry[4:6] for entry in sections}
        self.frames: dict[int, int] = {}
        self._read_index()

    def section(self, name: str) -> bytes:
        at, size = self._sections[name]
        return self.bytes(size, at)

    def _read_index(self):
        paravirtual = ".xen_p2m" in self._sections
        words = struct.unpack(f"<{self._sections['.xen_p2m' if paravirtual else '.xen_pfn'][1] // 8}Q",
                              self.section(".xen_p2m" if paravirtual else ".xen_pfn"))
        first = self._sections[".xen_pages"][0]
        for number, pfn in enumerate(words[::2] if paravirtual else words):
            if pfn != NONE:
                self.at[pfn] = first + number * PAGE
                if paravirtual:
                    self.frames[pfn] = words[2 * number + 1]

    def contexts(self) -> list[dict[str, int]]:
        """Registers of each vCPU, named as xenctx names them, and whether it is online."""
        count = struct.unpack_from("<Q", self.section(".note.Xen"), _VCPUS)[0]
        area, found = self.section(".xen_prstatus"), []
        for at in range(0, len(area), len(area) // count):
            words = struct.unpack_from("<25Q", area, at + _USER_REGISTERS)
            found.append(dict(zip(_ORDER, words)) | {"cs": words[17] & 0xFFFF, "ss": words[20] & 0xFFFF,
                                                     "cr3": struct.unpack_from("<Q", area, at + _CR3)[0],
                                                     "online": area[at + _FLAGS] >> 5 & 1})
        return found

    @property
    def p2m_address(self) -> int:
        """Where a PV guest has its p2m list as one array."""
        return struct.unpack_from("<Q", self.section(".xen_shared_info"), _P2M_ADDRESS)[0]


def write_raw(core: Core, output: Path) -> Path:
    """The guest's memory and nothing else: its page tables hold frames of the machine."""
    with output.open("wb") as target:
        for pfn in core.at:
            target.seek(pfn * PAGE)
            target.write(core.read(pfn))
    return output


def write_lime(core: Core, output: Path) -> Path:
    """The same as LiME."""
    with output.open("wb") as target:
        for begin, end in extents(sorted(core.at)):
            target.write(struct.pack("<IIQQ8x", 0x4C694D45, 1, begin * PAGE, end * PAGE - 1))
            for pfn in range(begin, end):
                target.write(core.read(pfn))
    return output


def extents(pfns: list[int]) -> list[tuple[int, int]]:
    """Ascending pfns as half-open ranges."""
    found: list[list[int]] = []
    for pfn in pfns:
        if found and found[-1][1] == pfn:
            found[-1][1] = pfn + 1
        else:
            found.append([pfn, pfn + 1])
    return [(begin, end) for begin, end in found]


class Save(Pages):
    """A save of xl. `types`: of each page, 1 to 4 for page tables of that level."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.types: dict[int, int] = {}
        at = 48 + int.from_bytes(self.bytes(4, 44), "little") + 16
        while self.bytes(4, at) != _LIBXC_CONTEXT.to_bytes(4, "little"):
            at = self._next(at)
        at += 8 + 24 + 16
        while (record := _RECORD.unpack(self.bytes(8, at)))[0] != _END:
            if record[0] == _PAGE_DATA:
                self._add(at + 8)
            at = self._next(at)

    def _next(self, at: int) -> int:
        return at + 8 + -(-_RECORD.unpack(self.bytes(8, at))[1] // 8) * 8

    def _add(self, at: int):
        count = int.from_bytes(self.bytes(4, at), "little")
        data = at + 8 + 8 * count
        for word in struct.unpack(f"<{count}Q", self.bytes(8 * count, at + 8)):
            if word >> 60 not in _WITHOUT_DATA:
                pfn = word & (1 << 52) - 1
                self.at[pfn], self.types[pfn] = data, word >> 60 & 7
                data += PAGE


class Tables:
    """Walks the page tables of an image from a root, as the processor does."""

    def __init__(self, image: images.Image, root: int):
        self._image = image
        self._root = root

    def gpa(self, gva: int) -> int:
        table = self._root
        for level in (3, 2, 1, 0):
            shift = 12 + 9 * level
            entry = int.from_bytes(self._image.read(table + (gva >> shift & 511) * 8, 8), "little")
            if not entry & 1:
                raise Failed(f"{self._image.path.name}: {gva:#x} is not mapped at level {level + 1}")
            if level and entry & 0x80:
                return entry & FRAME & -(1 << shift) | gva & (1 << shift) - 1
            table = entry & FRAME
        return table | gva & PAGE - 1

    def read(self, gva: int, size: int) -> bytes:
        found = b""
        while len(found) < size:
            here = min(size - len(found), PAGE - gva % PAGE)
            found += self._image.read(self.gpa(gva), here)
            gva += here
        return found


def context(path: Path) -> dict[str, int]:
    """Registers as xenctx shows them; gs is that of the kernel, and gs_user."""
    text = path.read_text()
    found = {name: int(value, 16) for name, value in re.findall(r"(\w+): ([0-9a-f]+)", text)}
    found["rflags"] = found.pop("flags")
    for name, value in re.findall(r"(fs|gs): \w+ @ ([0-9a-f]+)", text):
        found[f"{name}_base"] = int(value, 16)
    return found
