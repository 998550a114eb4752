"""Captures one stopped guest in every way QEMU's own dump command knows.

Files of a capture directory, besides those of capture.py:
  ref.elf           paging off, the reference
  paging.elf        paging on: segments by virtual address
  window.elf        paging off, only the part of memory that WINDOW names
  FORMAT.kdump      kdump-compressed, one for each format this QEMU can write
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import paths
from .capture import dump_reference
from .guest import Guest, Machine, random_file
from .qmp import Qmp

# Begin and length of window.elf: both off every border of a region, but on pages.
WINDOW = (0x9000, 0x2345000)


@dataclass(frozen=True)
class Foreign:
    """A guest that is not an x86 PC: not one instruction runs, QEMU itself puts random data into its memory."""

    program: str
    arguments: tuple[str, ...]
    blobs: tuple[tuple[int, int], ...]  # (gpa, MiB)


def _dump(qmp: Qmp, target: Path, **arguments):
    arguments.setdefault("paging", False)
    qmp.execute("dump-guest-memory", protocol=f"file:{target}", **arguments)


def _dump_every_way(qmp: Qmp, directory: Path):
    qmp.execute("stop")
    dump_reference(qmp, directory)
    for name in qmp.execute("query-dump-guest-memory-capability")["formats"]:
        if name.startswith("kdump"):
            _dump(qmp, directory / f"{name}.kdump", format=name)


def capture_dumps(machine: Machine, directory: Path) -> Path:
    """Boots the machine, stops it and dumps it in every format, with paging, and through a window."""
    directory.mkdir(parents=True, exist_ok=True)
    with Guest(machine, directory) as guest:
        _dump_every_way(guest.qmp, directory)
        _dump(guest.qmp, directory / "paging.elf", paging=True)
        _dump(guest.qmp, directory / "window.elf", begin=WINDOW[0], length=WINDOW[1])
    for leftover in (*directory.glob("blob*"), directory / "initramfs.cpio", directory / "qmp"):
        leftover.unlink(missing_ok=True)
    return directory


def capture_foreign(machine: Foreign, directory: Path) -> Path:
    """Dumps a machine of another architecture as it comes out of reset."""
    directory.mkdir(parents=True, exist_ok=True)
    arguments = [paths.program(machine.program), *machine.arguments, "-S", "-nodefaults", "-display", "none",
                 "-accel", "tcg", "-qmp", f"unix:{directory}/qmp,server=on,wait=off"]
    for number, (gpa, mib) in enumerate(machine.blobs):
        blob = random_file(directory / f"blob{number}", mib)
        arguments += ["-device", f"loader,file={blob},addr={gpa:#x},force-raw=on"]
    with (directory / "qemu.log").open("wb") as log:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        qmp = Qmp(directory / "qmp")
        _dump_every_way(qmp, directory)
        qmp.close()
    finally:
        process.kill()
        process.wait()
    for leftover in (*directory.glob("blob*"), directory / "qmp"):
        os.unlink(leftover)
    return directory
