"""A QEMU guest of the lab: how it is configured, started and brought to the state to be captured."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import initramfs, paths
from .arches import X86, Arch
from .qmp import Qmp

# What the guest is doing when it is captured.
LINUX = "linux"        # the lab's kernel is up, with random data in memory and the marker process
FIRMWARE = "firmware"  # it found nothing to boot; on a PC, PAM shadowing is done
RESET = "reset"        # not one instruction has run: PAM still shows ROM at 0xC0000

MARKER = "sleep 31337"  # the process consumers must find; started by `init`
_BOOT_SECONDS = 240  # a loaded two-core machine under TCG; an idle one needs about ten
_MOST_FILL = 400  # MiB; the guest makes some 50 MiB of random data per second
_MIB = 1 << 20


@dataclass(frozen=True)
class Machine:
    """Command line of one guest, in the terms of QEMU's own options."""

    type: str = "q35"
    memory: int = 256                     # MiB of main RAM
    memory_options: str = ""              # e.g. "slots=1,maxmem=2G"
    state: str = LINUX
    cpus: int = 2
    cpu: str | None = None                # default: the architecture's
    arch: Arch = X86
    qemu: int = 7                         # generation, see paths.qemu_command
    vmcoreinfo: bool = True
    extra: tuple[str, ...] = ()
    blobs: tuple[tuple[int, int], ...] = ()  # (gpa, MiB) of random data placed there by QEMU itself
    fill: int | None = None               # MiB of random data the guest keeps; default a quarter of RAM
    append: tuple[str, ...] = ()          # more words for the kernel's command line

    @property
    def is_pc(self) -> bool:
        return self.arch.firmware_log == "firmware.log"

    @property
    def fill_mib(self) -> int:
        return min(self.memory // 4, _MOST_FILL) if self.fill is None else self.fill


class GuestFailed(Exception):
    """The guest did not reach the wanted state."""


def random_file(path: Path, mib: int) -> Path:
    with path.open("wb") as blob:
        for _ in range(mib):
            blob.write(os.urandom(_MIB))
    return path


def _linux_arguments(machine: Machine, directory: Path, dirty: bool) -> list[str]:
    words = [f"console={machine.arch.console}", "quiet", "memhp_default_state=online", f"lab.fill={machine.fill_mib}",
             *machine.append]
    if dirty:
        words.append("lab.dirty")
    if machine.type.startswith("microvm"):
        # It has no clock to measure the TSC by but the PIT, on which a busy host gives no steady readings.
        words.append("tsc_early_khz=2000000")
    archive = initramfs.build(directory / "initramfs.cpio", machine.arch)
    return ["-kernel", str(paths.lab_file(f"{machine.arch.kernel}/vmlinuz")), "-initrd", str(archive),
            "-append", " ".join(words)]


def command_line(machine: Machine, directory: Path, dirty: bool) -> list[str]:
    """QEMU's argument list; files of the guest go to `directory`."""
    memory = f"{machine.memory}M" + (f",{machine.memory_options}" if machine.memory_options else "")
    arguments = [*paths.qemu_command(machine.qemu, machine.arch),
                 "-machine", machine.type, "-m", memory, "-smp", str(machine.cpus),
                 "-accel", "tcg,thread=multi", "-nodefaults", "-display", "none",
                 "-qmp", f"unix:{directory}/qmp,server=on,wait=off",
                 "-serial", f"file:{directory}/console.log"]
    cpu = machine.arch.default_cpu if machine.cpu is None else machine.cpu
    if cpu:
        arguments += ["-cpu", cpu]
    if machine.is_pc and not machine.type.startswith("microvm"):
        arguments += ["-vga", "std", "-debugcon", f"file:{directory}/firmware.log",
                      "-global", "isa-debugcon.iobase=0x402"]
    if machine.vmcoreinfo:
        arguments += ["-device", "vmcoreinfo"]
    for number, (gpa, mib) in enumerate(machine.blobs):
        blob = random_file(directory / f"blob{number}", mib)
        arguments += ["-device", f"loader,file={blob},addr={gpa:#x},force-raw=on"]
    if machine.state == LINUX:
        arguments += _linux_arguments(machine, directory, dirty)
    if machine.state == RESET:
        arguments.append("-S")
    return arguments + [*machine.arch.extra, *machine.extra]


class Guest:
    """A running QEMU process; use as a context manager so that it never outlives its test."""

    def __init__(self, machine: Machine, directory: Path, dirty: bool = False):
        self.machine = machine
        self.directory = directory
        with (directory / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                command_line(machine, directory, dirty), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=paths.qemu_environment(machine.qemu, machine.arch))
        try:
            self.qmp = Qmp(directory / "qmp")
            self._wait_until_ready()
        except BaseException as error:
            self.stop()
            if isinstance(error, Exception):
                raise GuestFailed(f"{error}; QEMU said: {self._log_text('qemu.log')[-800:]}") from error
            raise  # an interrupt

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, *_):
        self.qmp.close()
        self.stop()

    def _log_text(self, name: str) -> str:
        path = self.directory / name
        return path.read_text(errors="replace") if path.exists() else ""

    def _wait_until_ready(self):
        if self.machine.state == RESET:
            return
        arch = self.machine.arch
        log, text = (("console.log", "GUEST-READY") if self.machine.state == LINUX
                     else (arch.firmware_log, arch.firmware))
        deadline = time.monotonic() + _BOOT_SECONDS
        while text not in self._log_text(log):
            if self._process.poll() is not None:
                raise GuestFailed(f"QEMU exited with status {self._process.returncode}")
            if time.monotonic() > deadline:
                raise GuestFailed(f"no {text!r} in {log}: {self._log_text(log)[-800:]}")
            time.sleep(0.1)

    def stop(self):
        """Ends QEMU; nothing the test needs is lost, its captures are complete by then."""
        self._process.kill()
        self._process.wait()
