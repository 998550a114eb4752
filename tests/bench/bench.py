#!/usr/bin/python3
"""Measures vmconvert against `cp --sparse` and Volatility 3 on saves of real guests.

    bench.py --vmconvert PROGRAM [--save FILE --reference FILE] [--rounds N] [--work DIR] [--no-volatility]
    bench.py --vmconvert PROGRAM --encodings [--rounds N] [--work DIR]
    bench.py --vmconvert PROGRAM --vmware [--rounds N] [--work DIR]

Without --save, a 1 GiB guest is booted and captured first; a 5 GiB guest follows for the peak
memory of a bigger conversion. With --encodings, 1 GiB guests are saved in each encoding of pages and
into qcow2 images instead, and vmconvert is measured against `cp` of the save itself. With --vmware, a
4 GiB guest is wrapped as a .vmss with its memory inside, as it is and with every page filled, and
measured against `cp` of that. Prints a Markdown report with the machine and the commands.
Needs the lab that tests/real/setup prepares. Not a test: nothing here fails on a slow machine.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "real"))

import compare  # noqa: E402 (the lab lies beside this directory)
import images  # noqa: E402
from lab import paths, snapshots, vmware  # noqa: E402
from lab.capture import LIVE, PLAIN, STOPPED, Save, capture  # noqa: E402
from lab.guest import Machine  # noqa: E402

_FORMATS = ("elf", "raw", "lime")
_MIB = 1 << 20

# Live saves by QEMU 10: see tests/real/cases.py. Only QEMU 7 can compress.
_OLD, _NEW = Machine(memory=1024), Machine(type="pc-q35-7.2", qemu=10, memory=1024)
_ENCODINGS = (
    ("plain", _OLD, STOPPED, PLAIN),
    ("plain, live", _NEW, LIVE, PLAIN),
    ("compress", _OLD, STOPPED, Save(capabilities=("compress",))),
    ("xbzrle, live", _NEW, LIVE, Save(capabilities=("xbzrle",), passes=6)),
    ("background-snapshot", _OLD, STOPPED, Save(capabilities=("background-snapshot",))),
    ("mapped-ram", _NEW, STOPPED, Save(capabilities=("mapped-ram",), file=True)),
    ("mapped-ram, multifd", _NEW, STOPPED, Save(capabilities=("mapped-ram", "multifd"), file=True)),
)
_IMAGES = (snapshots.PLAIN, snapshots.Image("c4k", "cluster_size=4k"), snapshots.Image("c512", "cluster_size=512"))


@dataclass(frozen=True)
class Measurement:
    """Best wall time of the rounds, and the largest resident set any round reached."""

    label: str
    command: str
    rounds: int
    seconds: float
    peak_rss: int  # bytes
    apparent: int  # bytes of output
    allocated: int


def _run_once(command: list[str], report: Path) -> tuple[float, int]:
    """Wall seconds and peak resident bytes of one run.

    Through /usr/bin/time: a child of this process would be charged with Python's own
    memory, which it shares between fork and exec.
    """
    timed = [paths.program("time"), "-f", "%M", "-o", str(report), *command]
    started = time.perf_counter()
    process = subprocess.run(timed, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    elapsed = time.perf_counter() - started
    if process.returncode != 0:
        raise SystemExit(f"bench: exit code {process.returncode}: {' '.join(command)}")
    return elapsed, int(report.read_text()) * 1024


def _measure(label: str, command: list[str], output: Path, rounds: int) -> Measurement:
    runs = []
    for _ in range(rounds):
        output.unlink(missing_ok=True)
        os.sync()  # the previous round's output must not be written back during this one
        runs.append(_run_once(command, output.with_suffix(".time")))
    info = output.stat()
    result = Measurement(label, " ".join(command), rounds, min(seconds for seconds, _ in runs),
                         max(rss for _, rss in runs), info.st_size, info.st_blocks * 512)
    output.unlink()
    return result


def _vmconvert(program: Path, save: Path, name: str, work: Path, rounds: int, *more: str) -> Measurement:
    output = work / f"out.{name}"
    return _measure(f"vmconvert --to {name}", [str(program), str(save), "-o", str(output), "--to", name, *more],
                    output, rounds)


def _volatility(save: Path, work: Path) -> Measurement:
    """One round: the plugin takes a minute per GiB."""
    cache = paths.lab_file("volatility/cache")
    command = [str(paths.lab_file("volatility/venv/bin/vol")), "-q", "--offline", "--cache-path", str(cache),
               "-o", str(work), "-f", str(save), "layerwriter.LayerWriter"]
    return _measure("Volatility 3 layerwriter", command, work / "primary.raw", rounds=1)


def _warm(path: Path):
    """Brings a file into the page cache, so that the first tool measured is not the one to read the disk."""
    with path.open("rb") as file:
        while file.read(_MIB):
            pass


def _table(rows: list[Measurement], guest_bytes: int) -> str:
    lines = ["| tool | best of | seconds | guest MB/s | peak RSS MiB | output MB (allocated) |",
             "|---|---|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row.label} | {row.rounds} | {row.seconds:.2f} | {guest_bytes / row.seconds / 1e6:.0f} "
                     f"| {row.peak_rss / _MIB:.0f} | {row.apparent / 1e6:.0f} ({row.allocated / 1e6:.0f}) |")
    return "\n".join(lines)


def _machine_description(work: Path) -> str:
    cpu_info = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in cpu_info.splitlines() if line.startswith("model name")),
                 platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    filesystem = subprocess.run(["stat", "-f", "-c", "%T", str(work)], capture_output=True, text=True,
                                check=True).stdout.strip()
    return (f"{model}, {os.cpu_count()} CPUs, {memory:.0f} GiB; Linux {platform.release()}; "
            f"files on {filesystem}; input in the page cache")


def _plain_report(options: argparse.Namespace, save: Path, reference: Path, guest_bytes: int, work: Path):
    _warm(save)
    _warm(reference)
    copy = work / "copy"
    rows = [_measure("cp --sparse=always of the reference", ["cp", "--sparse=always", str(reference), str(copy)],
                     copy, options.rounds)]
    rows += [_vmconvert(options.vmconvert, save, name, work, options.rounds) for name in _FORMATS]
    if not options.no_volatility:
        rows.append(_volatility(save, work))
    print(f"Save of {save.stat().st_size / 1e6:.0f} MB, guest of {guest_bytes / (1 << 30):.2f} GiB.\n")
    print(_table(rows, guest_bytes))
    print("\nCommands:\n\n```")
    print("\n".join(row.command for row in rows))
    print("```")


def _memory_report(options: argparse.Namespace, work: Path):
    machine = Machine(memory=5120)
    big = capture(machine, STOPPED, work / "big")
    (big / "ref.elf").unlink()  # only the save is measured, and disk space may be short
    save = big / "save.qevm"
    _warm(save)
    rows = [_vmconvert(options.vmconvert, save, name, work, rounds=1) for name in _FORMATS]
    print(f"\nPeak memory, 5 GiB guest, save of {save.stat().st_size / 1e6:.0f} MB:\n")
    print(_table(rows, machine.memory * _MIB))


def _encoding_row(options: argparse.Namespace, name: str, save: Path, work: Path, *more: str,
                  cp: tuple[str, ...] = ("cp", "--sparse=always")) -> str:
    _warm(save)
    copy = work / "copy"
    cp = _measure("cp", [*cp, str(save), str(copy)], copy, options.rounds)
    ours = _vmconvert(options.vmconvert, save, "elf", work, options.rounds, *more)
    return (f"| {name} | {save.stat().st_blocks * 512 / 1e6:.0f} | {cp.seconds:.2f} | {ours.seconds:.2f} "
            f"| {ours.peak_rss / _MIB:.0f} | {ours.allocated / 1e6:.0f} |")


def _measure_encoding(options: argparse.Namespace, name: str, machine: Machine, kind: str, how: Save,
                      work: Path) -> str:
    directory = capture(machine, kind, work / "capture", how)
    try:
        (directory / "ref.elf").unlink()
        return _encoding_row(options, name, directory / "save.qevm", work)
    finally:
        shutil.rmtree(directory)


def _measure_snapshots(options: argparse.Namespace, work: Path):
    """Prints a row for each image, which holds two states; the second is converted."""
    directory = snapshots.capture(_OLD, _IMAGES, work / "capture")
    for image in _IMAGES:
        print(_encoding_row(options, f"qcow2, {image.options or 'clusters of 64k'}", image.file(directory), work,
                            "--snapshot", snapshots.AFTER), flush=True)


def _encodings_report(options: argparse.Namespace, work: Path):
    print(f"Guests of 1 GiB, to ELF; best of {options.rounds}.\n")
    print("| encoding | save MB (allocated) | cp of the save, seconds | vmconvert, seconds | peak RSS MiB "
          "| output MB (allocated) |")
    print("|---|---|---|---|---|---|")
    for encoding in _ENCODINGS:
        print(_measure_encoding(options, *encoding, work), flush=True)
    _measure_snapshots(options, work)


def _write_state(directory: Path, path: Path, filler: bytes | None):
    """The captured guest as a .vmss without holes. @param filler  what to put where a MiB is zero"""
    reference = compare.Reference(directory)
    with reference.image:
        pieces = vmware.pack(compare.unite((region.begin, region.end) for region in reference.ram))
        state = vmware.Checkpoint().product(vmware.size(pieces))
        state.cpus_packed(vmware.vcpus(images.notes(directory / "ref.elf")))
        state.group("memory").regions(pieces).write_with_memory(path, reference.image, pieces)
        if filler is None:
            filler = bytes(_MIB)
        with path.open("r+b") as file:
            at = path.stat().st_size - 2 - vmware.size(pieces)
            for place in range(at, path.stat().st_size - 2, _MIB):
                data = os.pread(file.fileno(), min(_MIB, path.stat().st_size - 2 - place), place)
                os.pwrite(file.fileno(), data if any(data) else filler[:len(data)], place)


def _vmware_report(options: argparse.Namespace, work: Path):
    directory = capture(Machine(memory=4096), STOPPED, work / "capture")
    print(f"State of 4 GiB with its memory inside, to ELF; best of {options.rounds}.\n")
    print("| memory | state MB (allocated) | cp of the state, seconds | vmconvert, seconds | peak RSS MiB "
          "| output MB (allocated) |")
    print("|---|---|---|---|---|---|")
    for name, filler in (("of a guest, zeros stored", None), ("every page filled", os.urandom(_MIB))):
        path = work / "guest.vmss"
        _write_state(directory, path, filler)
        print(_encoding_row(options, name, path, work, cp=("cp",)), flush=True)
        path.unlink()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmconvert", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--save", type=Path, help="a plain save to measure [a new 1 GiB guest]")
    parser.add_argument("--reference", type=Path, help="QEMU's dump of the same guest, which cp copies")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", default="/var/tmp", help="where captures and outputs go [/var/tmp]")
    parser.add_argument("--no-volatility", action="store_true")
    parser.add_argument("--encodings", action="store_true", help="measure each encoding of pages instead")
    parser.add_argument("--vmware", action="store_true", help="measure a VMware state instead")
    options = parser.parse_args()
    if (options.save is None) != (options.reference is None):
        parser.error("--save and --reference belong together")
    return options


def main():
    options = _options()
    work = Path(tempfile.mkdtemp(prefix="vmconvert-bench-", dir=options.work))
    try:
        print(f"{_machine_description(work)}\n")
        if options.encodings:
            _encodings_report(options, work)
            return
        if options.vmware:
            _vmware_report(options, work)
            return
        if options.save:
            save, reference = options.save, options.reference
            guest_bytes = reference.stat().st_size
        else:
            small = capture(Machine(memory=1024), STOPPED, work / "small")
            save, reference, guest_bytes = small / "save.qevm", small / "ref.elf", 1 << 30
        _plain_report(options, save, reference, guest_bytes, work)
        _memory_report(options, work)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
