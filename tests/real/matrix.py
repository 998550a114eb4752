"""Every kind of input before every consumer: the rows of docs/consumers.md."""

import json
import mmap
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import given_back
import images
import vmware_states
from consumers import CONSUMERS, Consumer, Subject
from context import Context, Failed
from lab import paths

RESULTS = "consumers.json"  # in the work directory: row -> consumer -> what it found


@dataclass(frozen=True)
class Row:
    """One kind of input. `make` returns the file to convert, and options it needs."""

    text: str  # in docs/consumers.md
    make: Callable[[Context], tuple[Path, ...]] = lambda context: (context.save,)
    registers: bool = True
    output: str = "elf"
    consumers: tuple[Consumer, ...] = CONSUMERS
    cannot: tuple[tuple[str, str], ...] = ()  # consumer -> why no vmcore of this guest opens in it
    state: str = ""  # folder of the capture with what the guest was at that moment


# Raw images and LiME have no place for what the others read.
_VOLATILITY = tuple(consumer for consumer in CONSUMERS if consumer.name.startswith("Volatility"))


def _page_offset_of(memory: mmap.mmap, text: bytes) -> int:
    at = memory.find(b"VMCOREINFO\0\0" + text[:64])
    if at < 0 or (at - 12) % images.PAGE:
        raise Failed("the guest's VMCOREINFO note is not in its memory")
    return at - 12


def _older_boot(note: bytes) -> bytes:
    """The note of the same kernel when it lay elsewhere, of the same length."""
    def moved(match: re.Match) -> bytes:
        return b"%s%0*x" % (match[1], len(match[2]), int(match[2], 16) ^ (6 << 20))
    note = re.sub(rb"(SYMBOL\(\w+\)=)([0-9a-f]{16})", moved, note)
    return re.sub(rb"(KERNELOFFSET=)([0-9a-f]+)", moved, note)


def _plant(memory: mmap.mmap, note: bytes, begin: int) -> int:
    """Puts a note into the first pages from `begin` on that the guest left zero."""
    pages = -(-len(note) // images.PAGE) * images.PAGE
    at = begin
    while memory[at:at + pages].strip(b"\0"):
        at += images.PAGE
    memory[at:at + len(note)] = note
    return at


def raw_with_old_notes(context: Context) -> tuple[Path, ...]:
    """A raw image without registers that holds, before the running kernel's note, those of an older boot of it
    and of another kernel."""
    raw = context.convert("raw", name="stale")
    text = dict((name, desc) for name, _, desc in images.notes(context.convert("elf", name="fresh")))["VMCOREINFO"]
    with raw.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        at = _page_offset_of(memory, text)
        note = memory[at:at + 24 + len(text)]
        other = re.sub(rb"OSRELEASE=\d", b"OSRELEASE=9", note)
        planted = [_plant(memory, stale, 1 << 20) for stale in (_older_boot(note), other)]
    if max(planted) > at:
        raise Failed(f"the old notes at {planted} lie behind the right one at {at:#x}: the row proves nothing")
    return (raw, "--from", "raw")


def without_help(context: Context) -> tuple[Path, ...]:
    """The save as that of a kernel which keeps no VMCOREINFO, with the kernel's own file at hand."""
    return (context.save, "--no-scan", "--vmlinux", paths.lab_file("kernel/vmlinux"))


def in_user_mode(context: Context) -> tuple[Path, ...]:
    """The save of a guest with KPTI, of which a vCPU was in user mode."""
    found = re.findall(r"CR3=([0-9a-f]+)", (context.capture / "registers.txt").read_text())
    if not any(int(cr3, 16) & 0x1000 for cr3 in found):
        raise Failed(f"no vCPU runs on the user's half of the page tables: CR3 are {found}")
    return (context.save,)


def as_kdump(context: Context) -> tuple[Path, ...]:
    """The dump that makedumpfile makes, of all pages."""
    kdump = context.work / "all.kdump"
    subprocess.run([paths.program("makedumpfile"), "-l", "-d", "0", context.convert("elf", name="whole"), kdump],
                   check=True, capture_output=True)
    return (kdump,)


def _as(name: str) -> Callable[[Context], tuple[Path, ...]]:
    """The save as vmconvert wrote it in another format."""
    def make(context: Context) -> tuple[Path, ...]:
        output = context.convert(name, name="again")
        return (output, "--from", name)
    return make


def _file(name: str, *options: str) -> Callable[[Context], tuple[Path, ...]]:
    return lambda context: (context.capture / name, *options)


DIRECT = Row("QEMU save")
RAW_OUTPUT = Row("QEMU save, to raw", output="raw", consumers=_VOLATILITY)
LIME_OUTPUT = Row("QEMU save, to LiME", output="lime", consumers=_VOLATILITY)
OLD_NOTES = Row("raw image with notes of old kernels", raw_with_old_notes, registers=False)
NO_VMCOREINFO = Row("QEMU save of a kernel without VMCOREINFO, `--vmlinux`", without_help,
                    cannot=(("makedumpfile", "wants more than symbols tell"),))
KPTI = Row("QEMU save, KPTI, vCPU in user mode", in_user_mode)
FROM_KDUMP = Row("kdump-compressed, by makedumpfile", as_kdump)
FROM_RAW = Row("raw image", _as("raw"), registers=False)
FROM_LIME = Row("LiME image", _as("lime"), registers=False)
FROM_DUMP = Row("QEMU `dump-guest-memory`", _file("ref.elf"))
PROCESS_CORE = Row("core of the QEMU process", _file("gcore.core"), registers=False)
VMWARE = Row("VMware `.vmss` and `.vmem`", vmware_states.as_state)
VMWARE_PANIC = Row("VMware panic dump", vmware_states.as_panic_dump)
VMWARE_ALONE = Row("VMware `.vmem` alone", vmware_states.as_memory_alone, registers=False)
SNAPSHOT = Row("qcow2 image with a snapshot", _file("plain.qcow2", "--snapshot", "after"), state="after")


def _convert(context: Context, row: Row) -> Path:
    source, *options = row.make(context)
    output = context.work / f"subject.{row.output}"
    context.run(source, *options, "-o", output, "-f", "--to", row.output)
    if row.output == "elf":
        context.run("verify", output)
        given_back.check(output)
    return output


def _open(consumer: Consumer, subject: Subject, cannot: str | None) -> str:
    if cannot is None:
        return consumer.open(subject)
    try:
        consumer.open(subject)
    except Failed:
        return f"no: {cannot}"
    raise Failed(f"opens, although {cannot!r}: docs/consumers.md is out of date")


def check(context: Context, rows: tuple[Row, ...]):
    """Each row's output in each of its consumers; all are tried before the first failure is told."""
    results, failures = {}, []
    for row in rows:
        subject = Subject(_convert(context, row), context.capture / row.state, context.work, row.registers)
        found = results.setdefault(row.text, {})
        for consumer in row.consumers:
            consumer.version()
            try:
                found[consumer.name] = _open(consumer, subject, dict(row.cannot).get(consumer.name))
                print(f"{row.text}: {consumer.name}: {found[consumer.name]}")
            except (Failed, subprocess.TimeoutExpired) as error:
                failures.append(f"{row.text}: {consumer.name}: {error}")
    (context.work / RESULTS).write_text(json.dumps(results))  # for consumer_table.py
    if failures:
        raise Failed("\n".join(failures))
