"""Writes files as VMware writes them, around the memory and the registers of a guest that QEMU dumped.

By docs/formats/vmware.md. No VMware is at hand; what these files prove is that a real guest's memory and
registers come out of them unharmed.
"""

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

PAGE = 4096
MIB = 1 << 20
_CHUNK = 4 * MIB  # also the plain size of a compressed block

_GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp",
            "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "rflags")
_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt")
# How VMware numbers them.
_NUMBERED = ("es", "cs", "ss", "ds", "fs", "gs", "ldt", "tr")
_PACKED = ("rax", "rcx", "rdx", "rbx", "rbp", "rsp", "rsi", "rdi", *(f"r{i}" for i in range(8, 16)))


@dataclass
class Vcpu:
    """Registers as QEMU's note has them."""

    registers: dict[str, int]
    segments: dict[str, tuple[int, int, int]]  # selector, limit, base
    control: tuple[int, ...]                   # cr0 to cr4


def vcpus(notes: list[tuple[str, int, bytes]]) -> list[Vcpu]:
    """Every vCPU's registers, from the QEMU notes of a dump."""
    found = []
    for name, _, desc in notes:
        if name != "QEMU":
            continue
        values = struct.unpack_from("<18Q", desc, 8)
        segments = {}
        for number, segment in enumerate(_SEGMENTS):
            selector, limit, _, _, base = struct.unpack_from("<IIIIQ", desc, 152 + 24 * number)
            segments[segment] = (selector, limit, base)
        found.append(Vcpu(dict(zip(_GENERAL, values)), segments, struct.unpack_from("<5Q", desc, 392)))
    return found


@dataclass(frozen=True)
class Piece:
    """A range of guest memory, and where it begins in the memory image."""

    begin: int
    end: int
    place: int


def pack(ranges: list[tuple[int, int]]) -> list[Piece]:
    """The ranges one after the other, in the order given."""
    pieces, place = [], 0
    for begin, end in ranges:
        pieces.append(Piece(begin, end, place))
        place += end - begin
    return pieces


def size(pieces: list[Piece]) -> int:
    return max(piece.place + piece.end - piece.begin for piece in pieces)


def write_memory(image, pieces: list[Piece], path: Path, offset: int = 0):
    """Writes the memory image into a file, zeros as holes."""
    with path.open("r+b" if offset else "wb") as output:
        for piece in pieces:
            for low, high in image.data_ranges(piece.begin, piece.end):
                for gpa in range(low, high, _CHUNK):
                    output.seek(offset + piece.place + gpa - piece.begin)
                    output.write(image.read(gpa, min(_CHUNK, high - gpa)))
        output.truncate(offset + size(pieces))


# Compressed memory -------------------------------------------------------------------------------------------

_ZEROS = re.compile(rb"\0{64,}")


def _literals(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 32):
        part = data[at:at + 32]
        yield bytes((len(part) - 1,)) + part


def _zeros(count: int) -> bytes:
    """A match of `count` bytes, at least 9, one byte back."""
    more = count - 9
    return b"\xe0" + b"\xff" * (more // 255) + bytes((more % 255, 0))


def fastlz(data: bytes) -> bytes:
    """A FastLZ stream of level 2 that makes runs of zeros short and leaves everything else."""
    parts, at = [], 0
    for run in _ZEROS.finditer(data):
        parts += _literals(data[at:run.start() + 1])
        parts.append(_zeros(run.end() - run.start() - 1))
        at = run.end()
    parts += _literals(data[at:])
    stream = b"".join(parts)
    return bytes((stream[0] | 0x20,)) + stream[1:]


def compress(plain: Path, packed: Path):
    with plain.open("rb") as source, packed.open("wb") as target:
        while data := source.read(_CHUNK):
            stream = fastlz(data)
            if len(stream) >= len(data):
                stream = data
            target.write(struct.pack("<4I", len(data), 0, len(stream), 0) + stream)


# Checkpoints -------------------------------------------------------------------------------------------------

@dataclass
class Checkpoint:
    """Groups of tags. The group `memory`, if it holds the memory image, has to be the last."""

    magic: int = 0xBED2BED2
    wide: bool = True  # sizes of blocks have 8 bytes, not 4
    groups: list[tuple[str, bytearray]] = field(default_factory=list)

    def group(self, name: str) -> "Checkpoint":
        self.groups.append((name, bytearray()))
        return self

    def _tag(self, code: int, name: str, indices: tuple[int, ...]) -> bytes:
        return (struct.pack("<BB", len(indices) << 6 | code, len(name)) + name.encode()
                + b"".join(struct.pack("<I", index) for index in indices))

    def value(self, name: str, value: int, *indices: int, width: int = 4) -> "Checkpoint":
        tag = self._tag(width, name, indices) + (value & (1 << 8 * width) - 1).to_bytes(width, "little")
        self.groups[-1][1].extend(tag)
        return self

    def _block_head(self, name: str, length: int, padding: int, indices: tuple[int, ...]) -> bytes:
        word = "<QQH" if self.wide else "<IIH"
        return self._tag(63, name, indices) + struct.pack(word, length, length, padding) + bytes(padding)

    def block(self, name: str, data: bytes, *indices: int) -> "Checkpoint":
        self.groups[-1][1].extend(self._block_head(name, len(data), 0, indices) + data)
        return self

    def regions(self, pieces: list[Piece]) -> "Checkpoint":
        self.value("regionsCount", len(pieces))
        for number, piece in enumerate(pieces):
            self.value("regionPageNum", piece.place // PAGE, number)
            self.value("regionPPN", piece.begin // PAGE, number)
            self.value("regionSize", (piece.end - piece.begin) // PAGE, number)
        return self

    def _layout(self, inside: int) -> tuple[bytes, int]:
        """Everything before the memory image, which has `inside` bytes, and the padding before it."""
        begin = 12 + 80 * len(self.groups)
        rows, tags = b"", b""
        for number, (name, content) in enumerate(self.groups):
            length, rest = len(content) + 2, bytes(2)
            if inside and number == len(self.groups) - 1:
                bare = begin + len(tags) + len(content) + len(self._block_head("Memory", inside, 0, (0, 0)))
                rest = self._block_head("Memory", inside, -bare % 65536, (0, 0))
                length = len(content) + len(rest) + inside + 2
            rows += struct.pack("<64sQQ", name.encode(), begin + len(tags), length)
            tags += bytes(content) + rest
        return struct.pack("<3I", self.magic, 8, len(self.groups)) + rows + tags, begin

    def write(self, path: Path):
        path.write_bytes(self._layout(0)[0])

    def write_with_memory(self, path: Path, image, pieces: list[Piece]):
        head, _ = self._layout(size(pieces))
        path.write_bytes(head)
        write_memory(image, pieces, path, len(head))
        with path.open("ab") as output:
            output.write(bytes(2))

    # What a state is made of.

    def product(self, memory: int) -> "Checkpoint":
        """@param memory  bytes"""
        self.group("Checkpoint").value("fileversion", 10)
        self.block("ProductName", b"VMware ESX".ljust(256, b"\0"))
        self.block("VersionNumber", b"4.1.0".ljust(256, b"\0"))
        return self.value("Platform", 1).value("memSize", memory // MIB)

    def cpus_single(self, states: list[Vcpu]) -> "Checkpoint":
        """A tag for each register, as ESX 4.1 has them, with bases of segments."""
        self.group("cpu").value("cpu:numVCPUs", len(states))
        for number, cpu in enumerate(states):
            for name, value in cpu.registers.items():
                if name == "rflags":
                    self.value("eflags", value, number)
                else:
                    self.value(name, value, number, width=8)
            self.value("eip", cpu.registers["rip"], number)
            self.value("halted", 1, number, width=1)
            for index, value in enumerate(cpu.control):
                self.value("CR", value, number, index).value("CR64", value, number, index, width=8)
            for name, table in (("GDTR", "gdt"), ("IDTR", "idt")):
                _, limit, base = cpu.segments[table]
                self.value(name, limit, number, 0, width=2)
                self.value(name, base, number, 1).value(name, base >> 32, number, 2)
        self._segments(states, width=2)
        return self

    def cpus_packed(self, states: list[Vcpu]) -> "Checkpoint":
        """Registers packed in blocks, as products of today have them."""
        self.group("cpu").value("cpu:numVCPUs", len(states))
        for number, cpu in enumerate(states):
            self.block("gpregs", struct.pack("<16Q", *(cpu.registers[name] for name in _PACKED)), number)
            self.block("CR64", struct.pack("<9Q", *cpu.control, 0, 0, 0, 0), number)
            for name, table in (("GDTR", "gdt"), ("IDTR", "idt")):
                self.block(name, struct.pack("<HQ", cpu.segments[table][1] & 0xFFFF, cpu.segments[table][2]), number)
            self.value("rip", cpu.registers["rip"], number, width=8)
            self.value("eflags", cpu.registers["rflags"], number)
        self._segments(states, width=4)
        return self

    def _segments(self, states: list[Vcpu], width: int):
        for number, cpu in enumerate(states):
            for index, name in enumerate(_NUMBERED):
                selector, _, base = cpu.segments[name]
                self.value("S", selector, number, index, width=width)
                self.value("S.base64", base, number, index, width=8)


# Panic dumps -------------------------------------------------------------------------------------------------

_PT_REGS = ("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi")


def write_panic(path: Path, states: list[Vcpu], memory: int, hole: tuple[int, int] | None = None):
    """A .guest of version 4. @param memory  bytes; @param hole  guest range without memory"""
    holes = [(hole[0] // PAGE, (hole[1] - hole[0]) // PAGE)] if hole else []
    pages = memory // PAGE
    last = (pages + sum(count for _, count in holes)) * PAGE - 1
    out = struct.pack("<II", 4, len(states)).ljust(22, b"\1")
    out += struct.pack("<QQII", last, pages, 0, len(holes))
    for first, count in (*holes, (0, 0), (0, 0))[:2]:
        out += struct.pack("<QQ", first, count)
    for cpu in states:
        r, segments = cpu.registers, cpu.segments
        out += struct.pack("<IQQQ", cpu.control[0] & 0xFFFFFFFF, *cpu.control[2:5]) + bytes(80)
        out += struct.pack("<Q", segments["idt"][2]) + bytes(42)
        out += struct.pack("<15Q", *(r[name] for name in _PT_REGS)) + struct.pack("<q", -1)
        out += struct.pack("<5Q", r["rip"], segments["cs"][0], r["rflags"], r["rsp"], segments["ss"][0])
        out += struct.pack("<QQ", segments["fs"][2], segments["gs"][2])
        out += struct.pack("<4Q", *(segments[name][0] for name in ("ds", "es", "fs", "gs"))) + bytes(17)
    path.write_bytes(out + bytes(4096 * len(states)))
