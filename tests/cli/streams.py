"""Builds small QEMU migration streams.

Written from docs/formats/qevm.md and shares nothing with the reader. Integers are big-endian. A
stream is: magic, version, configuration, the "ram" section in three pieces, one device section,
the end mark.
"""

import random
import struct

PAGE = 4096
_ID_RAM, _ID_RTC = 2, 11
_ZERO, _MEM_SIZE, _PAGE, _EOS, _CONTINUE = 0x02, 0x04, 0x08, 0x10, 0x20


def _name(text: str) -> bytes:
    return struct.pack(">B", len(text)) + text.encode()


def _footer(section: int) -> bytes:
    return struct.pack(">BI", 0x7E, section)


def _head(kind: int, section: int, name: str, version: int) -> bytes:
    return struct.pack(">BI", kind, section) + _name(name) + struct.pack(">II", 0, version)


def _cmos(ram: int) -> bytes:
    """What pc_cmos_init() of QEMU stores: KiB above 1 MiB, units of 64 KiB above 16 MiB."""
    cmos = bytearray(128)
    struct.pack_into("<H", cmos, 0x30, min(max(ram >> 10, 1024) - 1024, 0xFFFF))
    if 16 << 20 < ram < 4 << 30:
        struct.pack_into("<H", cmos, 0x34, (ram - (16 << 20)) >> 16)
    return bytes(cmos)


class Stream:
    """A PC with `ram` bytes of memory, which is zero but for `pages` (address: content)."""

    def __init__(self, ram: int, pages: dict[int, bytes]):
        self.ram = ram
        self.pages = pages
        machine = "pc-i440fx-7.2"
        start = struct.pack(">II", 0x5145564D, 3)
        start += struct.pack(">BI", 0x07, len(machine)) + machine.encode()
        start += _head(0x01, _ID_RAM, "ram", 4)
        start += struct.pack(">Q", ram | _MEM_SIZE) + _name("pc.ram") + struct.pack(">Q", ram)
        start += struct.pack(">Q", _EOS) + _footer(_ID_RAM)
        records = []
        for address, content in sorted(pages.items()):
            flag, body = (_PAGE, content) if any(content) else (_ZERO, b"\0")
            named = records == []
            word = struct.pack(">Q", address | flag | (0 if named else _CONTINUE))
            records.append(word + (_name("pc.ram") if named else b"") + body)
        part = struct.pack(">BI", 0x02, _ID_RAM) + b"".join(records)
        part += struct.pack(">Q", _EOS) + _footer(_ID_RAM)
        end = struct.pack(">BIQ", 0x03, _ID_RAM, _EOS) + _footer(_ID_RAM)
        rtc = _head(0x04, _ID_RTC, "mc146818rtc", 3) + _cmos(ram) + bytes(60) + _footer(_ID_RTC)
        self.pages_begin = len(start)  # offset of what follows the block list
        self.pages_end = len(start) + len(part)  # offset of what follows the pages
        self.bytes = start + part + end + rtc + b"\0"

    def raw(self) -> bytes:
        """The raw image of it."""
        memory = bytearray(self.ram)
        for address, content in self.pages.items():
            memory[address : address + PAGE] = content
        return bytes(memory)


def page(seed: int) -> bytes:
    """A page of its own."""
    return random.Random(seed).randbytes(PAGE)


def small() -> Stream:
    """2 MiB with a few pages: quick to convert, with a page of zeros in between."""
    addresses = [0, 0x1000, 0x5000, 0x7F000, 0x100000, 0x1F0000, 0x1FF000]
    pages = {address: page(address) for address in addresses}
    return Stream(2 << 20, pages | {0x6000: bytes(PAGE)})


def sparse(ram: int) -> Stream:
    """Much memory in a small stream: the first and the last page, zeros in between."""
    return Stream(ram, {0: page(1), ram - PAGE: page(2)})


def dense(ram: int) -> Stream:
    """Content in every page outside the VGA window, which no image shows."""
    addresses = (a for a in range(0, ram, PAGE) if not 0xA0000 <= a < 0xC0000)
    return Stream(ram, {address: page(address) for address in addresses})
