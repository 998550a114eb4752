"""Readers of memory images, written from the format descriptions and sharing nothing with vmconvert.

Each returns an `Image`: which guest-physical ranges a file holds, and where in the file they lie.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096

_CHUNK = 1 << 20
_ZEROS = bytes(_CHUNK)

_EHDR = "16sHHIQQQIHHHHHH"
_PHDR = "IIQQQQQQ"
_ORDERS = {b"\x7fELF\x02\x01": "<", b"\x7fELF\x02\x02": ">"}
_LIME = struct.Struct("<IIQQ8s")
_PT_LOAD, _PT_NOTE = 1, 4
_ET_CORE = 4
_LIME_MAGIC = 0x4C694D45


class BadImage(Exception):
    """The file breaks a rule of its format."""


@dataclass(frozen=True)
class Segment:
    """`size` bytes of guest memory at `gpa`, held at `offset` of the file."""

    gpa: int
    size: int
    offset: int

    @property
    def end(self) -> int:
        return self.gpa + self.size


class Image:
    """An open image; segments ascend and are disjoint."""

    def __init__(self, path: Path, segments: list[Segment]):
        self.path = path
        self.segments = segments
        self._file = os.open(path, os.O_RDONLY)

    def __enter__(self) -> "Image":
        return self

    def __exit__(self, *_):
        os.close(self._file)

    def ranges(self) -> list[tuple[int, int]]:
        """Half-open guest-physical ranges the file holds."""
        return [(segment.gpa, segment.end) for segment in self.segments]

    def read(self, gpa: int, size: int) -> bytes:
        """Bytes of guest memory; the range may go on in the next segment."""
        for segment in self.segments:
            if segment.gpa <= gpa < segment.end:
                here = min(size, segment.end - gpa)
                data = os.pread(self._file, here, segment.offset + gpa - segment.gpa)
                if len(data) != here:
                    raise BadImage(f"{self.path.name}: ends inside the range at gpa {gpa:#x}")
                return data if here == size else data + self.read(gpa + here, size - here)
        raise BadImage(f"{self.path.name}: no segment holds gpa {gpa:#x}+{size:#x}")

    def has_data(self, begin: int, end: int) -> bool:
        """Whether any byte of a guest-physical range is not zero."""
        for low, high in self.data_ranges(begin, end):
            for gpa in range(low, high, _CHUNK):
                size = min(_CHUNK, high - gpa)
                if self.read(gpa, size) != _ZEROS[:size]:
                    return True
        return False

    def data_ranges(self, begin: int, end: int):
        """Guest-physical ranges the file stores. Elsewhere it has holes, zero by definition: up to a TiB of them."""
        for segment in self.segments:
            shift = segment.gpa - segment.offset
            low, high = max(begin, segment.gpa), min(end, segment.end)
            while low < high:
                try:
                    low = os.lseek(self._file, low - shift, os.SEEK_DATA) + shift
                except OSError:  # ENXIO: the file ends in a hole
                    break
                stop = min(os.lseek(self._file, low - shift, os.SEEK_HOLE) + shift, high)
                if low < stop:
                    yield low, stop
                low = stop


def _require(condition: bool, path: Path, message: str):
    if not condition:
        raise BadImage(f"{path.name}: {message}")


def _program_headers(path: Path) -> tuple[tuple, list[tuple], str]:
    """ELF header, program headers, and struct's letter for the file's byte order."""
    with path.open("rb") as file:
        order = _ORDERS.get(file.read(6), "")
        _require(bool(order), path, "not an ELF64 file")
        ehdr, phdr = struct.Struct(order + _EHDR), struct.Struct(order + _PHDR)
        file.seek(0)
        header = ehdr.unpack(file.read(ehdr.size))
        _require(header[1] == _ET_CORE, path, f"e_type is {header[1]}, not ET_CORE")
        phoff, phentsize, phnum = header[5], header[9], header[10]
        _require(phentsize == phdr.size, path, f"e_phentsize is {phentsize}")
        file.seek(phoff)
        return header, [phdr.unpack(file.read(phdr.size)) for _ in range(phnum)], order


def identity(path: Path) -> tuple[int, str]:
    """(e_machine, byte order as "<" or ">")."""
    header, _, order = _program_headers(path)
    return header[2], order


def _load_segments(headers: list[tuple]) -> list[Segment]:
    return [Segment(gpa=paddr, size=filesz, offset=offset)
            for p_type, _, offset, _, paddr, filesz, _, _ in headers if p_type == _PT_LOAD]


VirtualSegment = tuple[int, int, int]  # gva, gpa, size


def virtual_segments(path: Path) -> list[VirtualSegment]:
    """p_vaddr, p_paddr and size of each PT_LOAD."""
    return [(vaddr, paddr, memsz) for p_type, _, _, vaddr, paddr, _, memsz, _ in _program_headers(path)[1]
            if p_type == _PT_LOAD]


def notes(path: Path) -> list[tuple[str, int, bytes]]:
    """(name, type, descriptor) of each ELF note, in file order."""
    _, headers, order = _program_headers(path)
    header = next(entry for entry in headers if entry[0] == _PT_NOTE)
    with path.open("rb") as file:
        file.seek(header[2])
        area = file.read(header[5])
    found, at = [], 0
    while at < len(area):
        namesz, descsz, note_type = struct.unpack_from(order + "III", area, at)
        name_at = at + 12
        desc_at = name_at + (namesz + 3) // 4 * 4
        name = area[name_at:name_at + namesz].rstrip(b"\0").decode()
        found.append((name, note_type, area[desc_at:desc_at + descsz]))
        at = desc_at + (descsz + 3) // 4 * 4
    _require(at == len(area), path, "the last note spills over the note area")
    return found


def open_reference(path: Path) -> Image:
    """QEMU's own ELF dump; its layout follows fewer rules than ours."""
    return Image(path, _load_segments(_program_headers(path)[1]))


def open_vmcore(path: Path) -> Image:
    """An ELF vmcore of vmconvert; raises BadImage when it breaks a rule some consumer depends on."""
    header, headers, _ = _program_headers(path)
    _require(header[5] == 64, path, f"e_phoff is {header[5]}: makedumpfile reads headers at 64")
    _require(header[8] == 64, path, f"e_ehsize is {header[8]}")
    _require(headers[0][0] == _PT_NOTE, path, "the first program header is not PT_NOTE")
    _require(all(entry[0] == _PT_LOAD for entry in headers[1:]), path, "a header after the first is not PT_LOAD")
    _require(headers[0][7] in (0, 4), path, "p_align of PT_NOTE is neither 0 nor 4: gdb refuses the file")
    segments = _load_segments(headers)
    _require(bool(segments), path, "no PT_LOAD")
    _require(headers[0][2] + headers[0][5] <= min(s.offset for s in segments), path, "notes lie after memory")
    _check_loads(path, headers[1:])
    _check_ascending(path, segments)
    last = max(segment.offset + segment.size for segment in segments)
    _require(path.stat().st_size == last, path, f"file has {path.stat().st_size} bytes, segments end at {last}")
    return Image(path, segments)


def _check_loads(path: Path, headers: list[tuple]):
    for _, _, offset, _, paddr, filesz, memsz, align in headers:
        _require(align == 0, path, "p_align of a PT_LOAD is not 0: crash takes the file for netdump")
        _require(offset % PAGE == 0, path, f"p_offset {offset:#x} is not page-aligned")
        _require(paddr % PAGE == 0 and memsz % PAGE == 0, path, f"segment at {paddr:#x} is not page-aligned")
        _require(filesz == memsz, path, f"segment at {paddr:#x} is trimmed: Volatility 3 skips it")


def _check_ascending(path: Path, segments: list[Segment]):
    for before, after in zip(segments, segments[1:]):
        _require(before.end <= after.gpa, path, f"{after.gpa:#x} does not follow {before.gpa:#x}..{before.end:#x}")


def open_lime(path: Path) -> Image:
    """A LiME image, walked record by record to the end of the file."""
    segments, size = [], path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            record = file.read(_LIME.size)
            _require(len(record) == _LIME.size, path, f"{len(record)} trailing bytes")
            magic, version, first, last, reserved = _LIME.unpack(record)
            _require((magic, version) == (_LIME_MAGIC, 1), path, f"no record at offset {file.tell() - 32:#x}")
            _require(reserved == bytes(8), path, "reserved bytes are not zero")
            _require(first % PAGE == 0 and (last + 1) % PAGE == 0, path, f"record at {first:#x} is not page-aligned")
            _require(first < last, path, f"record at {first:#x} is empty")
            segments.append(Segment(first, last + 1 - first, file.tell()))
            file.seek(last + 1 - first, os.SEEK_CUR)
        _require(file.tell() == size, path, "the last record is cut off")
    _check_ascending(path, segments)
    return Image(path, segments)


def open_raw(path: Path) -> Image:
    """A padded raw image: byte N is guest-physical N."""
    return Image(path, [Segment(0, path.stat().st_size, 0)])
