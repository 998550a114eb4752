"""Cores of the QEMU process itself, with QEMU's own dump of the same stopped guest.

Files of a capture directory:
  gcore.core     what gdb's gcore wrote
  kernel.core    what the kernel wrote when the process was aborted
  ref.elf        QEMU's own dump of the guest's memory
  mtree.txt      QEMU's flat memory map
  mapped.ram     where a guest's RAM was a file: that file
"""

import os
import resource
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import initramfs, paths
from .guest import GuestFailed
from .qmp import Qmp

GCORE, KERNEL = "gcore", "kernel"

_BOOT_SECONDS = 240
_MIB = 1 << 20
_PATTERN = Path("/proc/sys/kernel/core_pattern")
# QEMU reserves an eighth of memory for translated code, which gcore would write out.
_ACCELERATOR = ("-accel", "tcg,thread=multi,tb-size=32")


@dataclass(frozen=True)
class Process:
    """A QEMU whose guest is stopped before its first instruction, unless it boots Linux."""

    arguments: tuple[str, ...]
    program: str = "qemu-system-x86_64"
    qemu: int = 7
    linux: bool = False
    blobs: tuple[tuple[int, int], ...] = ()  # (gpa, MiB) of random data
    by: tuple[str, ...] = (GCORE, KERNEL)
    seconds: float = 0.0                     # how long firmware runs
    filter: int | None = None                # /proc/PID/coredump_filter


def _command(process: Process, directory: Path) -> list[str]:
    command = paths.qemu_command(process.qemu)
    if process.program != "qemu-system-x86_64":
        command = [paths.program(process.program)]
    command += [*_ACCELERATOR, "-nodefaults", "-display", "none", "-qmp",
                f"unix:{directory}/qmp,server=on,wait=off", "-serial", f"file:{directory}/console.log"]
    command += [word.replace("@DIR@", str(directory)) for word in process.arguments]
    for number, (gpa, mib) in enumerate(process.blobs):
        blob = directory / f"blob{number}"
        blob.write_bytes(os.urandom(mib * _MIB))
        command += ["-device", f"loader,file={blob},addr={gpa:#x},force-raw=on"]
    if process.linux:
        archive = initramfs.build(directory / "initramfs.cpio")
        command += ["-kernel", str(paths.lab_file("kernel/vmlinuz")), "-initrd", str(archive),
                    "-append", "console=ttyS0 quiet lab.fill=32"]
    elif process.seconds == 0:
        command.append("-S")
    return command


def _wait_for_linux(running: subprocess.Popen, directory: Path):
    console = directory / "console.log"
    deadline = time.monotonic() + _BOOT_SECONDS
    while "GUEST-READY" not in console.read_text(errors="replace"):
        if running.poll() is not None or time.monotonic() > deadline:
            raise GuestFailed(console.read_text(errors="replace")[-800:])
        time.sleep(0.1)


def _unlimited_cores():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def gcore(pid: int, target: Path):
    """A core by gdb, which leaves the process running."""
    # gdb takes the name for an expression's end, so it must not hold blanks.
    result = subprocess.run([paths.program("gdb"), "-p", str(pid), "-batch", "-ex", f"gcore {target}"],
                            capture_output=True, text=True, check=False)
    if not target.exists():
        raise GuestFailed(f"gcore: {result.stderr[-800:]}")


def require_kernel_cores():
    """The kernel must write cores into the working directory of the process."""
    pattern = _PATTERN.read_text().strip()
    if pattern != "core" or Path("/proc/sys/kernel/core_uses_pid").read_text().strip() != "0":
        raise paths.Missing(f'core_pattern "core" (it is {pattern!r})')


def kernel_core(running: subprocess.Popen, directory: Path):
    """A core by the kernel, which ends the process."""
    running.send_signal(signal.SIGABRT)
    running.wait()
    (directory / "core").rename(directory / "kernel.core")


def capture(process: Process, directory: Path):
    """Starts QEMU and leaves a complete capture in `directory`."""
    if KERNEL in process.by:
        require_kernel_cores()
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    with (directory / "qemu.log").open("wb") as log:
        running = subprocess.Popen(_command(process, directory), cwd=directory, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, env=paths.qemu_environment(process.qemu),
                                   preexec_fn=_unlimited_cores)
    try:
        if process.filter is not None:
            Path(f"/proc/{running.pid}/coredump_filter").write_text(f"{process.filter:#x}")
        qmp = Qmp(directory / "qmp")
        if process.linux:
            _wait_for_linux(running, directory)
        time.sleep(process.seconds)
        qmp.execute("stop")
        qmp.execute("dump-guest-memory", paging=False, protocol=f"file:{directory}/ref.elf")
        (directory / "mtree.txt").write_text(qmp.monitor("info mtree -f"))
        qmp.close()
        if GCORE in process.by:
            gcore(running.pid, directory / "gcore.core")
        if KERNEL in process.by:
            kernel_core(running, directory)
    except BaseException as error:
        if isinstance(error, Exception):
            log = (directory / "qemu.log").read_text(errors="replace")
            raise GuestFailed(f"{error}; QEMU said: {log[-800:]}") from error
        raise
    finally:
        running.kill()
        running.wait()
        for leftover in (*directory.glob("blob*"), directory / "initramfs.cpio", directory / "qmp"):
            leftover.unlink(missing_ok=True)
