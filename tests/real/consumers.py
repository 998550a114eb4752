"""Checks that the tools people use open vmconvert's outputs and find what the guest showed."""

import re
import subprocess
import sys
from pathlib import Path

from context import FORMATS, Context, Failed
from lab import paths
from lab.guest import MARKER

_CONSUMER_SECONDS = 300


def _run(*command: str | Path) -> str:
    """Output of a consumer that must succeed."""
    result = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True,
                            text=True, errors="replace", timeout=_CONSUMER_SECONDS, check=False)
    if result.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: exit code {result.returncode}: "
                     f"{(result.stdout + result.stderr).strip()[-800:]}")
    return result.stdout


def _guest_release(context: Context) -> str:
    """`uname -r` as the guest printed it."""
    console = (context.capture / "console.log").read_text(errors="replace")
    match = re.search(r"^LAB version Linux version (\S+)", console, re.MULTILINE)
    if match is None:
        raise Failed("console.log does not show the guest's kernel version")
    return match[1]


def check_readelf(context: Context):
    """binutils and elfutils read headers and notes without a complaint, one CPU state per vCPU."""
    readelf, eu_readelf = paths.program("readelf"), paths.program("eu-readelf")
    vmcore = context.convert("elf")
    for command in ((readelf, "-hlnW", vmcore), (eu_readelf, "-hln", vmcore)):
        result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if result.returncode != 0 or result.stderr.strip():
            raise Failed(f"{command[0]}: exit code {result.returncode}: {result.stderr.strip()[-400:]}")
        if "CORE" not in result.stdout:
            raise Failed(f"{command[0]}: not shown as a core file")


# crash ---------------------------------------------------------------------------------------------------------

# Command -> what its output holds when it worked.
_CRASH_COMMANDS = {"sys": "RELEASE:", "bt -a": " #0 [", "ps": "swapper/0"}


def _crash(vmcore: Path, work: Path) -> dict[str, str]:
    """What crash prints for each command, run one by one so that their outputs stay apart."""
    commands = work / "crash.commands"
    marker = "= vmconvert ="
    commands.write_text("".join(f"!echo '{marker}'\n{command}\n" for command in _CRASH_COMMANDS) + "quit\n")
    text = _run(paths.program("crash"), "-s", paths.lab_file("kernel/vmlinux"), vmcore, "-i", commands)
    parts = text.split(marker + "\n")[1:]
    if len(parts) != len(_CRASH_COMMANDS):
        raise Failed(f"crash {vmcore.name}: printed {text.strip()[-800:]!r}")
    return dict(zip(_CRASH_COMMANDS, parts))


def _without_dumpfile(text: str) -> list[str]:
    """`sys` names the file it reads: the one line that has to differ."""
    return [line for line in text.splitlines() if not line.lstrip().startswith("DUMPFILE:")]


def check_crash(context: Context):
    """crash shows for our vmcore what it shows for QEMU's own dump of the same state."""
    paths.program("crash")
    expected = _crash(context.capture / "ref.elf", context.work)
    actual = _crash(context.convert("elf"), context.work)
    release = _guest_release(context)
    if release not in actual["sys"]:
        raise Failed(f"crash sys does not show release {release}: {actual['sys']!r}")
    for name, view in (("sys", _without_dumpfile), ("bt -a", str.splitlines), ("ps", str.splitlines)):
        if _CRASH_COMMANDS[name] not in expected[name]:  # two equal failures would prove nothing
            raise Failed(f"crash {name} does not work even on QEMU's dump: {expected[name]!r}")
        if view(actual[name]) != view(expected[name]):
            raise Failed(f"crash {name} differs\nQEMU's dump:\n{expected[name]}\nvmconvert's:\n{actual[name]}")
    print(f"crash: sys, bt -a and ps are as for QEMU's dump ({release})")


# Volatility 3 ----------------------------------------------------------------------------------------------------

def _volatility(image: Path, plugin: str) -> str:
    cache = paths.lab_file("volatility/cache")
    return _run(paths.lab_file("volatility/venv/bin/vol"), "-q", "--offline", "--cache-path", cache,
                "-s", paths.lab_file("volatility/symbols"), "-f", image, plugin)


def _processes(listing: str) -> list[str]:
    """Rows of a plugin's table, below its headline."""
    return [line for line in listing.splitlines() if line[:1].isalnum() and "\t" in line][1:]


def check_volatility(context: Context):
    """Volatility 3 finds the marker process in all formats, and the same processes as in QEMU's dump."""
    expected = {plugin: _processes(_volatility(context.capture / "ref.elf", plugin))
                for plugin in ("linux.psaux", "linux.pslist")}
    for name in FORMATS:
        image = context.convert(name)
        arguments = _processes(_volatility(image, "linux.psaux"))
        if not any(line.endswith(MARKER) for line in arguments):
            raise Failed(f"linux.psaux on {image.name} does not show {MARKER!r}: {arguments}")
        processes = _processes(_volatility(image, "linux.pslist"))
        if arguments != expected["linux.psaux"] or processes != expected["linux.pslist"]:
            raise Failed(f"{image.name}: processes differ from those in QEMU's dump: {processes}")
        print(f"Volatility 3 on {image.name}: {len(processes)} processes, {MARKER!r} among them")


# libkdumpfile ------------------------------------------------------------------------------------------------------

def check_kdumpfile(context: Context):
    """libkdumpfile reads the guest's own VMCOREINFO, and memory through it."""
    try:
        from kdumpfile import KDUMP_KVADDR, kdumpfile
    except ImportError as error:
        raise paths.Missing(f"python3-libkdumpfile for {sys.executable}") from error
    release = _guest_release(context)
    dump = kdumpfile(str(context.convert("elf")))
    dump.attr["addrxlat.ostype"] = "linux"
    if "linux.vmcoreinfo.raw" not in dump.attr:
        raise Failed("libkdumpfile finds no VMCOREINFO")
    text = bytes(memoryview(dump.attr["linux.vmcoreinfo.raw"])).decode()
    if f"OSRELEASE={release}\n" not in text:
        raise Failed(f"VMCOREINFO is not that of {release}: {text[:200]!r}")
    if dump.attr["linux.uts.release"] != release:
        raise Failed(f"linux.uts.release is {dump.attr['linux.uts.release']!r}")
    console = (context.capture / "console.log").read_text(errors="replace")
    banner_address = int(re.search(r"LAB kallsyms (\w+) \w linux_banner", console)[1], 16)
    banner = bytes(dump.read(KDUMP_KVADDR, banner_address, 64))
    if not banner.startswith(b"Linux version " + release.encode()):
        raise Failed(f"memory at linux_banner reads {banner!r}")
    print(f"libkdumpfile: VMCOREINFO and linux_banner of {release}")
