"""Guests of Xen in the tools people use: rows of docs/consumers.md, and what only these guests have to show."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import consumers
import images
import matrix
import xen_files
from context import Context, Failed
from lab import paths

_ENVIRONMENT = "MARKENV=VMCONVERT-XEN-ENV-55aa"  # of a process of xen-domu
_MARKED = "sleep 31338"


def _state(name: str, file: str) -> dict:
    return {"make": lambda context: (context.capture / name / file,), "state": name}


def _bare(name: str, write: Callable[[xen_files.Core, Path], Path], file: str):
    """The guest's memory without its container."""
    def make(context: Context) -> tuple[Path, ...]:
        core = xen_files.Core(context.capture / name / "guest.core")
        output = write(core, context.work / file)
        core.close()
        return (output, "--from", output.suffix[1:])
    return make


_BARE_RAW = _bare("pv/run", xen_files.write_raw, "bare.raw")
_BARE_LIME = _bare("pv/run", xen_files.write_lime, "bare.lime")


def _named(*names: str) -> tuple[consumers.Consumer, ...]:
    return tuple(consumer for consumer in consumers.CONSUMERS if consumer.name in names)


_VOLATILITY = _named("Volatility 3")

CORE = matrix.Row("Xen `xl dump-core`, PV guest", **_state("pv/run", "guest.core"))
SAVE = matrix.Row("Xen `xl save`, PV guest", **_state("pv/saved", "guest.save"))
CRASHED = matrix.Row("Xen dump-core of a PV guest that panicked", registers=False,
                     **_state("crash/crashed", "guest.core"))
BALLOONED = matrix.Row("Xen dump-core of a ballooned PV guest", **_state("balloon/run", "guest.core"))
PVH_SAVE = matrix.Row("Xen `xl save`, PVH guest", **_state("pvh/saved", "guest.save"))
BARE_RAW = matrix.Row("raw image of a PV guest of Xen", _BARE_RAW, registers=False, state="pv/run")
BARE_LIME = matrix.Row("LiME image of a PV guest of Xen", _BARE_LIME, registers=False, state="pv/run")
BARE_RAW_TO_RAW = matrix.Row("raw image of a PV guest of Xen, to raw", _BARE_RAW, registers=False,
                             state="pv/run", output="raw", consumers=_VOLATILITY)
BARE_LIME_TO_LIME = matrix.Row("LiME image of a PV guest of Xen, to LiME", _BARE_LIME, registers=False,
                               state="pv/run", output="lime", consumers=_VOLATILITY)

# For every change: what works on different parts of the file.
FEW = (replace(CORE, consumers=_named("crash", "drgn", "gdb", "Volatility 3")),
       replace(BARE_RAW, consumers=_VOLATILITY), replace(BARE_LIME, consumers=_VOLATILITY))


def _check_environment(vmcore: Path):
    """drgn follows a process's own page tables to its environment."""
    script = Path(__file__).with_name("drgn_facts.py")
    result = subprocess.run([sys.executable, script, vmcore, paths.lab_file("kernel/vmlinux")], capture_output=True,
                            text=True, check=False)
    if result.returncode != 0:
        raise Failed(f"drgn on {vmcore.name}: {result.stderr.strip()[-400:]}")
    facts = json.loads(result.stdout)
    found = dict(zip(facts["commands"], facts["environments"]))
    if _ENVIRONMENT not in found.get(_MARKED, ""):
        raise Failed(f"drgn on {vmcore.name}: environment of {_MARKED!r} is {found.get(_MARKED)!r}")


def _check_vmalloc(vmcore: Path, core: xen_files.Core, work: Path):
    """crash reads the p2m list, which lies in vmalloc space, as the toolstack has it."""
    first = min(core.frames)
    commands = work / "crash.vmalloc"
    commands.write_text(f"rd -64 {core.p2m_address + 8 * first:x} 16\nquit\n")
    text = subprocess.run([paths.program("crash"), "-s", paths.lab_file("kernel/vmlinux"), vmcore, "-i", commands],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout
    found = [int(word, 16) for line in re.findall(r"^[0-9a-f]{16}:((?:\s+[0-9a-f]{16})+)", text, re.MULTILINE)
             for word in line.split()]
    expected = [core.frames.get(pfn) for pfn in range(first, first + 16)]
    if len(found) != 16 or any(want is not None and got != want for got, want in zip(found, expected)):
        raise Failed(f"crash on {vmcore.name}: reads {text.strip()[-600:]!r} at {core.p2m_address:#x}")


def check_paravirtual(row: matrix.Row, state: str):
    """What the row does not cover: the environment of a process, and an address in vmalloc space."""
    def check(context: Context):
        source, *options = row.make(context)
        output = context.work / "deep.elf"
        context.run(source, *options, "-o", output, "-f")
        core = xen_files.Core(context.capture / state / "guest.core")
        _check_environment(output)
        _check_vmalloc(output, core, context.work)
        core.close()
        print(f"{row.text}: environment of {_MARKED!r} in drgn, p2m list in crash; {len(images.notes(output))} notes")
    return check
