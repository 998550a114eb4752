"""The tools people use, each opening a vmcore of vmconvert's and finding in it what the guest showed.

A consumer is a function of the subject: it returns what it found, in a few words, or raises Failed.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import images
from context import Failed
from lab import paths
from lab.guest import MARKER

_CONSUMER_SECONDS = 300


@dataclass(frozen=True)
class Subject:
    """A vmcore, and what is known of the guest it was made from.

    `capture` has console.log and, where QEMU could give them, ref.elf and registers.txt.
    """

    vmcore: Path
    capture: Path
    work: Path
    registers: bool = True  # whether the input had any

    @cached_property
    def _console(self) -> str:
        folders = (self.capture, self.capture.parent)  # one log for several states of a guest
        return next(path for folder in folders if (path := folder / "console.log").exists()).read_text(errors="replace")

    @property
    def release(self) -> str:
        """`uname -r` as the guest printed it."""
        return self.banner.split()[2]

    @property
    def banner(self) -> str:
        match = re.search(r"^LAB version (Linux version .*?)\r?$", self._console, re.MULTILINE)
        if match is None:
            raise Failed("console.log does not show the guest's kernel version")
        return match[1]

    @property
    def banner_address(self) -> int:
        return int(re.search(r"LAB kallsyms (\w+) \w linux_banner", self._console)[1], 16)

    @property
    def instructions(self) -> list[int]:
        """RIP of each vCPU, as QEMU's monitor showed it."""
        text = (self.capture / "registers.txt").read_text()
        return [int(value, 16) for value in re.findall(r"^RIP=([0-9a-f]+)", text, re.MULTILINE)]

    @property
    def reference(self) -> Path | None:
        """QEMU's own dump of the same state."""
        path = self.capture / "ref.elf"
        return path if path.exists() else None


def _run(*command: str | Path) -> str:
    """Output of a consumer that must succeed."""
    result = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True,
                            text=True, errors="replace", timeout=_CONSUMER_SECONDS, check=False)
    if result.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: exit code {result.returncode}: "
                     f"{(result.stdout + result.stderr).strip()[-800:]}")
    return result.stdout


def _of_reference(subject: Subject, name: str, look: Callable[[Path, Path], dict]) -> dict | None:
    """What a consumer shows for QEMU's own dump, if there is one: kept for the other vmcores of the capture."""
    if subject.reference is None:
        return None
    kept = subject.capture / f"{name}.json"
    if not kept.exists():
        kept.write_text(json.dumps(look(subject.reference, subject.work)))
    return json.loads(kept.read_text())


def _version_of(*command: str, pattern: str = r"(\d+(\.\d+)+)") -> Callable[[], str]:
    def version() -> str:
        result = subprocess.run([paths.program(command[0]), *command[1:]], capture_output=True, text=True, check=False)
        return re.search(pattern, result.stdout + result.stderr)[1]
    return version


# readelf ---------------------------------------------------------------------------------------------------------

def read_headers(subject: Subject) -> str:
    """binutils and elfutils read headers and notes without a complaint; segments are what crash and others accept."""
    for command in ((paths.program("readelf"), "-hlnW"), (paths.program("eu-readelf"), "-hln")):
        result = subprocess.run([*command, str(subject.vmcore)], capture_output=True, text=True, check=False)
        if result.returncode != 0 or result.stderr.strip():
            raise Failed(f"{command[0]}: exit code {result.returncode}: {result.stderr.strip()[-400:]}")
        if "CORE" not in result.stdout:
            raise Failed(f"{command[0]}: not shown as a core file")
    notes = images.notes(subject.vmcore)
    if not any(name == "VMCOREINFO" and f"OSRELEASE={subject.release}\n".encode() in desc for name, _, desc in notes):
        raise Failed(f"no VMCOREINFO of {subject.release} among the notes {[note[:2] for note in notes]}")
    return f"{len(notes)} note{'s' if len(notes) != 1 else ''}"


# crash -----------------------------------------------------------------------------------------------------------

# Command -> what its output holds when it worked.
_CRASH_COMMANDS = {"sys": "RELEASE:", "bt -a": " #0 [", "ps": "swapper/0"}
# What it says of a PV guest of Xen whose vmcore has no registers; of other guests it finds them in memory.
_WITHOUT_REGISTERS = "active (non-crashing) xen tasks"


def _crash(vmcore: Path, work: Path) -> dict[str, str]:
    """What crash prints for each command, run one by one so that their outputs stay apart."""
    commands = work / "crash.commands"
    marker = "= vmconvert ="
    commands.write_text("".join(f"!echo '{marker}'\n{command}\n" for command in _CRASH_COMMANDS) + "quit\n")
    text = _run(paths.program("crash"), "-s", paths.lab_file("kernel/vmlinux"), vmcore, "-i", commands)
    parts = text.split(marker + "\n")[1:]
    if len(parts) != len(_CRASH_COMMANDS):
        raise Failed(f"crash {vmcore.name}: printed {text.strip()[-800:]!r}")
    outputs = dict(zip(_CRASH_COMMANDS, parts))
    for command, text in outputs.items():
        excused = command == "bt -a" and _WITHOUT_REGISTERS in text
        if _CRASH_COMMANDS[command] not in text and not excused:  # two equal failures would prove nothing
            raise Failed(f"crash {command} does not work on {vmcore.name}: {text!r}")
    return outputs


def _without_dumpfile(text: str) -> list[str]:
    """`sys` names the file it reads: the one line that has to differ."""
    return [line for line in text.splitlines() if not line.lstrip().startswith("DUMPFILE:")]


def open_in_crash(subject: Subject) -> str:
    """crash shows what it shows for QEMU's own dump of the same state, if there is one."""
    actual = _crash(subject.vmcore, subject.work)
    if f"RELEASE: {subject.release}" not in actual["sys"]:
        raise Failed(f"crash sys does not show release {subject.release}: {actual['sys']!r}")
    if subject.registers and _WITHOUT_REGISTERS in actual["bt -a"]:
        raise Failed(f"crash bt -a finds no registers: {actual['bt -a']!r}")
    compared = {"sys": _without_dumpfile, "ps": str.splitlines}
    if subject.registers:
        compared["bt -a"] = str.splitlines
    if expected := _of_reference(subject, "crash", _crash):
        for name, view in compared.items():
            if view(actual[name]) != view(expected[name]):
                raise Failed(f"crash {name} differs\nQEMU's dump:\n{expected[name]}\nvmconvert's:\n{actual[name]}")
    return ", ".join(f"`{name}`" for name in compared)


# drgn ------------------------------------------------------------------------------------------------------------

_DRGN_SCRIPT = Path(__file__).with_name("drgn_facts.py")


def open_in_drgn(subject: Subject) -> str:
    """drgn lists the tasks with their command lines, and a back trace from the registers."""
    facts = json.loads(_run(sys.executable, _DRGN_SCRIPT, subject.vmcore, paths.lab_file("kernel/vmlinux")))
    if facts["banner"].rstrip("\n") != subject.banner:
        raise Failed(f"drgn reads linux_banner {facts['banner']!r}")
    if MARKER not in facts["commands"]:
        raise Failed(f"drgn does not show {MARKER!r}: {facts['commands']}")
    if subject.registers and facts["instruction"] != subject.instructions[0]:
        raise Failed(f"drgn shows vCPU 0 at {facts['instruction']}, QEMU at {subject.instructions[0]}")
    return f"{facts['tasks']} tasks"


def _drgn_version() -> str:
    try:
        import drgn
    except ImportError as error:
        raise paths.Missing(f"python3-drgn for {sys.executable}") from error
    return drgn.__version__


# gdb -------------------------------------------------------------------------------------------------------------

def open_in_gdb(subject: Subject) -> str:
    """gdb reads linux_banner by its virtual address and has a thread for each vCPU."""
    command = [paths.program("gdb"), "-nx", "-batch", "-ex", f"core-file {subject.vmcore}",
               "-ex", f"x/s {subject.banner_address:#x}"]
    count = len(subject.instructions) if subject.registers else 0
    for number in range(1, count + 1):
        command += ["-ex", f"thread {number}", "-ex", "p/x $rip"]
    # Without registers gdb complains, and goes on.
    text = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout
    if subject.banner not in text:
        raise Failed(f"gdb does not read linux_banner at {subject.banner_address:#x}: {text[-800:]}")
    found = [int(value, 16) for value in re.findall(r"^\$\d+ = (0x[0-9a-f]+)$", text, re.MULTILINE)]
    if count and found != subject.instructions:
        raise Failed(f"gdb shows vCPUs at {found}, QEMU at {subject.instructions}")
    return f"`linux_banner`, {count} vCPUs"


# libkdumpfile ----------------------------------------------------------------------------------------------------

def open_in_kdumpfile(subject: Subject) -> str:
    """libkdumpfile reads VMCOREINFO, memory through the page tables, and registers."""
    from kdumpfile import KDUMP_KVADDR, kdumpfile
    dump = kdumpfile(str(subject.vmcore))
    dump.attr["addrxlat.ostype"] = "linux"
    if dump.attr["linux.uts.release"] != subject.release:
        raise Failed(f"linux.uts.release is {dump.attr['linux.uts.release']!r}")
    found = bytes(dump.read(KDUMP_KVADDR, subject.banner_address, len(subject.banner)))
    if found != subject.banner.encode():
        raise Failed(f"memory at linux_banner reads {found!r}")
    count = len(subject.instructions) if subject.registers else 0
    instructions = [dump.attr[f"cpu.{number}.reg.rip"] for number in range(count)]
    if count and instructions != subject.instructions:
        raise Failed(f"vCPUs are at {instructions}, QEMU has {subject.instructions}")
    return f"`linux_banner`, {count} vCPUs"


def _kdumpfile_version() -> str:
    try:
        __import__("kdumpfile")
    except ImportError as error:
        raise paths.Missing(f"python3-libkdumpfile for {sys.executable}") from error
    return _run("dpkg-query", "-W", "-f", "${Version}", "python3-libkdumpfile").split("-")[0]


# makedumpfile ----------------------------------------------------------------------------------------------------

def open_in_makedumpfile(subject: Subject) -> str:
    """makedumpfile filters the vmcore, and crash finds the same in what is left."""
    filtered = subject.work / "filtered.kdump"
    filtered.unlink(missing_ok=True)
    _run(paths.program("makedumpfile"), "-l", "-d", "31", subject.vmcore, filtered)
    before, after = subject.vmcore.stat().st_blocks, filtered.stat().st_blocks
    if after >= before:
        raise Failed(f"nothing was filtered: {after} blocks of {before}")
    _require_banner_in(filtered, subject)
    filtered.unlink()
    return f"`-l -d 31`, {before / after:.0f} times smaller"


def _require_banner_in(filtered: Path, subject: Subject):
    from kdumpfile import KDUMP_KVADDR, kdumpfile
    dump = kdumpfile(str(filtered))
    dump.attr["addrxlat.ostype"] = "linux"
    found = bytes(dump.read(KDUMP_KVADDR, subject.banner_address, len(subject.banner)))
    if found != subject.banner.encode():
        raise Failed(f"{filtered.name}: memory at linux_banner reads {found!r}")


# Volatility 3 ----------------------------------------------------------------------------------------------------

_VOLATILITY_PLUGINS = ("linux.psaux", "linux.pslist")


def _plugin_rows(image: Path, plugin: str) -> list[str]:
    """What is in a plugin's table, below its headline."""
    cache = paths.lab_file("volatility/cache")
    text = _run(paths.lab_file("volatility/venv/bin/vol"), "-q", "--offline", "--cache-path", cache,
                "-s", paths.lab_file("volatility/symbols"), "-f", image, plugin)
    return [line for line in text.splitlines() if line[:1].isalnum() and "\t" in line][1:]


def _volatility(image: Path, _: Path) -> dict[str, list[str]]:
    return {plugin: _plugin_rows(image, plugin) for plugin in _VOLATILITY_PLUGINS}


def open_in_volatility(subject: Subject) -> str:
    """Volatility 3 finds the marker process, and the same processes as in QEMU's own dump."""
    actual = _volatility(subject.vmcore, subject.work)
    if not any(line.endswith(MARKER) for line in actual["linux.psaux"]):
        raise Failed(f"linux.psaux on {subject.vmcore.name} does not show {MARKER!r}: {actual['linux.psaux']}")
    if expected := _of_reference(subject, "volatility", _volatility):
        for plugin in _VOLATILITY_PLUGINS:
            if actual[plugin] != expected[plugin]:
                raise Failed(f"{plugin} differs from that on QEMU's dump: {actual[plugin]}, {expected[plugin]}")
    return f"{len(actual['linux.pslist'])} processes"


def _volatility_version() -> str:
    return re.search(r"Version: (\S+)", _run(paths.lab_file("volatility/venv/bin/pip"), "show", "volatility3"))[1]


# -----------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Consumer:
    name: str
    version: Callable[[], str]  # raises Missing
    open: Callable[[Subject], str]


CONSUMERS = (
    Consumer("crash", _version_of("crash", "-v", pattern=r"crash (\S+)"), open_in_crash),
    Consumer("drgn", _drgn_version, open_in_drgn),
    Consumer("gdb", _version_of("gdb", "--version"), open_in_gdb),
    Consumer("libkdumpfile", _kdumpfile_version, open_in_kdumpfile),
    Consumer("makedumpfile", _version_of("makedumpfile", "-v"), open_in_makedumpfile),
    Consumer("Volatility 3", _volatility_version, open_in_volatility),
    Consumer("elfutils", _version_of("eu-readelf", "--version"), read_headers),
)
