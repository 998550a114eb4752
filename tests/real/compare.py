#!/usr/bin/python3
"""Compares vmconvert's outputs with QEMU's own dump of the same memory, byte for byte.

    compare.py CAPTURE [--elf FILE] [--raw FILE] [--lime FILE]

CAPTURE holds ref.elf and mtree.txt. QEMU dumps every RAM and ROM region the guest sees;
mtree.txt tells which of them are guest RAM, and which are video memory or firmware that a
memory image need not hold. All RAM must be in every output and be equal; nothing may be
in an output that the guest does not see.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable

import images

_CHUNK = 4 << 20
_FLAT_RANGE = re.compile(r"^\s+([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, ([\w-]+)\): ([^@\n]+)")
# Regions QEMU dumps that are not main memory: video RAM in its BAR, option ROMs, BIOS and flash.
_NOT_MEMORY = re.compile(r".*vram|.*\.rom|pc\.bios|isa-bios|(system|virt)\.flash\d|.*\.mrom")


class Different(Exception):
    """An output does not hold what the guest's memory held."""


@dataclass(frozen=True)
class Region:
    """One range of the guest's flat memory map that QEMU dumps."""

    begin: int
    end: int
    name: str

    @property
    def is_ram(self) -> bool:
        return not _NOT_MEMORY.fullmatch(self.name)

    def __str__(self) -> str:
        return f"{self.begin:#x}-{self.end:#x} {self.name}"


def subtract(ranges: list[tuple[int, int]], holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Parts of `ranges` outside all `holes`; both are half-open, and the result ascends."""
    left = sorted(ranges)
    for hole_begin, hole_end in holes:
        parts = []
        for begin, end in left:
            parts += [(begin, min(end, hole_begin)), (max(begin, hole_end), end)]
        left = [(begin, end) for begin, end in parts if begin < end]
    return sorted(left)


def intersect(ranges: list[tuple[int, int]], others: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Parts of `ranges` inside any of `others`."""
    return subtract(ranges, subtract([(0, 1 << 64)], others))


def unite(*lists: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges covered by any of the lists, merged."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(part for ranges in lists for part in ranges):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def flat_memory_map(mtree: str) -> list[Region]:
    """RAM and ROM ranges of the system address space in the output of `info mtree -f`."""
    for view in mtree.split("FlatView #")[1:]:
        if 'AS "memory"' in view:
            matches = (_FLAT_RANGE.match(line) for line in view.splitlines())
            return [Region(int(m[1], 16), int(m[2], 16) + 1, m[4].strip())
                    for m in matches if m and m[3] in ("ram", "nv-ram", "rom", "romd")]
    raise Different('mtree.txt has no flat view of address space "memory"')


class Reference:
    """QEMU's dump, cut into the regions it was made of."""

    def __init__(self, capture: Path):
        self.image = images.open_reference(capture / "ref.elf")
        dumped = self.image.ranges()
        self.regions = []
        for region in flat_memory_map((capture / "mtree.txt").read_text()):
            for begin, end in intersect([(region.begin, region.end)], dumped):
                self.regions.append(Region(begin, end, region.name))
        unnamed = subtract(dumped, [(r.begin, r.end) for r in self.regions])
        if unnamed:
            raise Different(f"ref.elf holds {unnamed[0][0]:#x}, which mtree.txt does not name")

    @property
    def ram(self) -> list[Region]:
        return [region for region in self.regions if region.is_ram]

    def ram_end(self) -> int:
        return max(region.end for region in self.ram)


def _describe(ranges: list[tuple[int, int]]) -> str:
    return ", ".join(f"{begin:#x}-{end:#x}" for begin, end in ranges)


def _first_difference(left: bytes, right: bytes) -> int:
    """Index of the first byte that differs, found by halving."""
    low, high = 0, len(left)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if left[low:middle] != right[low:middle] else (middle, high)
    return low


def _pieces(begin: int, end: int, *files: images.Image):
    """Cuts a range where a segment of any file ends, so that each piece is one read of each."""
    edges = {begin, end}
    for file in files:
        for bounds in file.ranges():
            edges.update(edge for edge in bounds if begin < edge < end)
    ordered = sorted(edges)
    return zip(ordered, ordered[1:])


def _require_equal(reference: images.Image, output: images.Image, begin: int, end: int, name: str):
    for low, high in _pieces(begin, end, reference, output):
        # What is a hole in both files is equal without being read.
        for first, last in unite(reference.data_ranges(low, high), output.data_ranges(low, high)):
            for gpa in range(first, last, _CHUNK):
                _require_equal_chunk(reference, output, gpa, min(_CHUNK, last - gpa), name)


def _require_equal_chunk(reference: images.Image, output: images.Image, gpa: int, size: int, name: str):
    expected, actual = reference.read(gpa, size), output.read(gpa, size)
    if expected != actual:
        at = _first_difference(expected, actual)
        raise Different(f"{output.path.name}: {name}: gpa {gpa + at:#x} is {actual[at]:#04x}, "
                        f"the guest had {expected[at]:#04x}")


def compare_segments(reference: Reference, output: images.Image) -> list[str]:
    """Checks an ELF or LiME image; returns the regions of the reference it leaves out."""
    held = output.ranges()
    extra = subtract(held, [(r.begin, r.end) for r in reference.regions])
    if extra:
        raise Different(f"{output.path.name}: holds {_describe(extra)}, which the guest does not see as memory")
    omitted = []
    for region in reference.regions:
        missing = subtract([(region.begin, region.end)], held)
        if missing and region.is_ram:
            raise Different(f"{output.path.name}: lacks {_describe(missing)} of {region}")
        for begin, end in subtract([(region.begin, region.end)], missing):
            _require_equal(reference.image, output, begin, end, region.name)
        omitted += [f"{begin:#x}-{end:#x} {region.name}" for begin, end in missing]
    return omitted


def compare_raw(reference: Reference, output: images.Image) -> list[str]:
    """Checks a padded raw image; returns the regions it shows as zeros."""
    size, expected_size = output.path.stat().st_size, reference.ram_end()
    if size != expected_size:
        raise Different(f"{output.path.name}: has {size:#x} bytes, RAM ends at {expected_size:#x}")
    omitted = []
    for region in reference.regions:
        if region.is_ram:
            _require_equal(reference.image, output, region.begin, region.end, region.name)
        elif region.begin >= size or not output.has_data(region.begin, region.end):
            omitted.append(str(region))
        else:  # firmware may be left out or shown, but not be something else
            _require_equal(reference.image, output, region.begin, region.end, region.name)
    for begin, end in subtract([(0, size)], [(r.begin, r.end) for r in reference.regions]):
        if output.has_data(begin, end):
            raise Different(f"{output.path.name}: hole {begin:#x}-{end:#x} is not all zeros")
    return omitted


def compare_outputs(reference: Reference, elf: Path | None, raw: Path | None, lime: Path | None) -> list[str]:
    """Checks the given outputs; returns report lines, raises on a difference."""
    total = sum(region.end - region.begin for region in reference.ram) >> 20
    report = []
    for path, opener, comparison in ((elf, images.open_vmcore, compare_segments),
                                     (raw, images.open_raw, compare_raw),
                                     (lime, images.open_lime, compare_segments)):
        if path is not None:
            with opener(path) as output:
                omitted = comparison(reference, output)
            report.append(f"{path.name}: {total} MiB of RAM equal; left out: {'; '.join(omitted) or 'nothing'}")
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("capture", type=Path)
    for kind in ("elf", "raw", "lime"):
        parser.add_argument(f"--{kind}", type=Path)
    options = parser.parse_args()
    try:
        reference = Reference(options.capture)
        with reference.image:
            for line in compare_outputs(reference, options.elf, options.raw, options.lime):
                print(line)
    except (Different, images.BadImage) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
