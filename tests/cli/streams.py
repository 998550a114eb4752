"""Builds small QEMU migration streams.

Written from docs/formats/qevm.md and shares nothing with the reader. Integers are big-endian. A
stream is: magic, version, configuration, the "ram" section in three pieces, one device section,
the end mark.
"""

import random
import struct

PAGE = 4096
_ID_RAM, _ID_RTC, _ID_MORE = 2, 11, 12
_ZERO, _MEM_SIZE, _PAGE, _EOS, _CONTINUE = 0x02, 0x04, 0x08, 0x10, 0x20


def _name(text: str | bytes) -> bytes:
    name = text.encode() if isinstance(text, str) else text
    return struct.pack(">B", len(name)) + name


def _footer(section: int) -> bytes:
    return struct.pack(">BI", 0x7E, section)


def _head(kind: int, section: int, name: str | bytes, version: int) -> bytes:
    return struct.pack(">BI", kind, section) + _name(name) + struct.pack(">II", 0, version)


def _cmos(ram: int, changes: dict[int, int]) -> bytes:
    """What pc_cmos_init() of QEMU stores: KiB above 1 MiB, units of 64 KiB above 16 MiB."""
    cmos = bytearray(128)
    struct.pack_into("<H", cmos, 0x30, min(max(ram >> 10, 1024) - 1024, 0xFFFF))
    if 16 << 20 < ram < 4 << 30:
        struct.pack_into("<H", cmos, 0x34, (ram - (16 << 20)) >> 16)
    for at, value in changes.items():
        cmos[at] = value
    return bytes(cmos)


class Stream:
    """A PC with `ram` bytes of memory, which is zero but for `pages` (address: content).

    `parts` are subsections of the configuration, name: content. `blocks` are memory blocks besides RAM, name: size.
    `device` is the name of one more device section, of 5 bytes. `description` is what follows the end, if it is not
    empty.
    """

    def __init__(self, ram: int, pages: dict[int, bytes], parts: dict[str, bytes] | None = None,
                 blocks: dict[bytes, int] | None = None, device: bytes = b"", description: bytes = b"",
                 cmos: dict[int, int] | None = None):
        self.ram = ram
        self.pages = pages
        machine = "pc-i440fx-7.2"
        start = struct.pack(">II", 0x5145564D, 3)
        start += struct.pack(">BI", 0x07, len(machine)) + machine.encode()
        for name, content in (parts or {}).items():
            start += b"\x05" + _name(name) + struct.pack(">I", 1) + content
        start += _head(0x01, _ID_RAM, "ram", 4)
        total = ram + sum((blocks or {}).values())
        start += struct.pack(">Q", total | _MEM_SIZE) + _name("pc.ram") + struct.pack(">Q", ram)
        for name, size in (blocks or {}).items():
            start += _name(name) + struct.pack(">Q", size)
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
        rtc = _head(0x04, _ID_RTC, "mc146818rtc", 3) + _cmos(ram, cmos or {}) + bytes(60) + _footer(_ID_RTC)
        more = _head(0x04, _ID_MORE, device, 7) + b"state" + _footer(_ID_MORE) if device else b""
        self.pages_begin = len(start)  # offset of what follows the block list
        self.pages_end = len(start) + len(part)  # offset of what follows the pages
        self.bytes = start + part + end + rtc + more + b"\0"
        if description:
            self.bytes += struct.pack(">BI", 0x06, len(description)) + description

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
    """Content in every page."""
    return Stream(ram, {address: page(address) for address in range(0, ram, PAGE)})


def libvirt_save(stream: bytes, xml: bytes, cookie: bytes = b"", was_running: int = 1, padding: int = 64) -> bytes:
    """A save image of libvirt around a stream, from docs/formats/libvirt-save.md; little-endian, uncompressed."""
    data = xml + b"\0"
    cookie_offset = len(data) if cookie else 0
    data += (cookie + b"\0" if cookie else b"") + bytes(padding)
    header = struct.pack("<16s5I56x", b"LibvirtQemudSave", 2, len(data), was_running, 0, cookie_offset)
    return header + data + stream
