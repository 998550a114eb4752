"""Counts what a save really holds of each encoding of pages, so that a test of one cannot pass without it.

Written from docs/formats/qevm.md and sharing nothing with vmconvert. Walks the stream up to the first device.
"""

import struct
from collections import Counter
from pathlib import Path
from typing import BinaryIO

_PAGE = 4096
_CONTINUE = 0x20
_FORMS = {0x02: "filled", 0x08: "plain", 0x40: "delta", 0x100: "compressed"}
_LIBVIRT = struct.Struct("<16s5I56x")


class _Stream:
    def __init__(self, file: BinaryIO):
        self._file = file

    def number(self, size: int) -> int:
        return int.from_bytes(self._file.read(size), "big")

    def text(self, size: int) -> str:
        return self._file.read(size).decode()

    def skip(self, size: int):
        self._file.seek(size, 1)

    def seek(self, offset: int):
        self._file.seek(offset)

    def bytes(self, size: int) -> bytes:
        return self._file.read(size)


def _skip_configuration(stream: _Stream) -> list[str]:
    """Returns the capabilities."""
    stream.skip(stream.number(4))
    names: list[str] = []
    while stream.number(1) == 5:
        name = stream.text(stream.number(1))
        stream.skip(4)
        if name != "configuration/capabilities":
            raise ValueError(f"configuration subsection {name}")
        names += [stream.text(stream.number(1)) for _ in range(stream.number(4))]
    stream.skip(-1)  # the next element
    return names


def _read_block_list(stream: _Stream, total: int, mapped: bool, counts: Counter):
    while total:
        stream.skip(stream.number(1))
        length = stream.number(8)
        total -= length
        if mapped:
            stream.skip(12)
            bitmap, pages = stream.number(8), stream.number(8)
            stream.seek(bitmap)
            bits = stream.bytes((length // _PAGE + 63) // 64 * 8)
            counts["mapped"] += int.from_bytes(bits, "little").bit_count()
            stream.seek(pages + length)


def _read_records(stream: _Stream, mapped: bool, counts: Counter):
    while (word := stream.number(8)) != 0x10:
        flags, rest = word % _PAGE, word - word % _PAGE
        if flags == 4:
            _read_block_list(stream, rest, mapped, counts)
            continue
        form = _FORMS[flags & ~_CONTINUE]
        if not flags & _CONTINUE:
            stream.skip(stream.number(1))
        counts[form] += 1
        if form == "delta":
            stream.skip(1)
        stream.skip({"filled": lambda: 1, "plain": lambda: _PAGE, "delta": lambda: stream.number(2),
                     "compressed": lambda: stream.number(4)}[form]())


def count(save: Path, offset: int = 0) -> Counter:
    """Page records by form, repeats included, pages of mapped-ram, and how often the RAM section ended."""
    counts: Counter = Counter()
    with save.open("rb") as file:
        magic, _, length, *_ = _LIBVIRT.unpack(file.read(_LIBVIRT.size))
        stream = _Stream(file)
        stream.seek(_LIBVIRT.size + length if magic == b"LibvirtQemudSave" else offset)
        if stream.bytes(8) != b"QEVM\0\0\0\3":
            raise ValueError(f"no stream at {offset:#x}")
        mapped = False
        while (element := stream.number(1)) != 4:  # the first device
            if element == 7:
                mapped = "mapped-ram" in _skip_configuration(stream)
                continue
            if element == 8:
                stream.skip(2)
                stream.skip(stream.number(2))
                continue
            stream.skip(4)
            if element == 1:
                if (name := stream.text(stream.number(1))) != "ram":
                    raise ValueError(f"live section {name}")
                stream.skip(8)
            _read_records(stream, mapped, counts)
            counts["end"] += element == 3
            stream.skip(5)
    return counts
