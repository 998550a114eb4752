"""Guests that show something, and captures of what they show.

A capture directory holds for each picture NAME.qevm, the save, and NAME.png, QEMU's own
screendump of the same stopped machine.
"""

import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import initramfs, paths
from .guest import GuestFailed
from .qmp import Qmp

_SOURCE = Path(__file__).with_name("screens.S")
_INIT = Path(__file__).with_name("init-screen")
_SECONDS = 240
# Keys of screens.S by the mode they set. QEMU 7.2 and 10 show all of them.
TEXT = "abc"
VGA = "defghos"
VBE = "ijklmnqruw"


@dataclass(frozen=True)
class Display:
    """One guest with one display.

    `keys`: modes to walk through, by the boot sector of screens.S. Without, one picture is taken:
    of Linux, if `linux` holds the end of its command line, else of the firmware.
    """

    arguments: tuple[str, ...]
    keys: str = ""
    linux: str | None = None
    qemu: int = 7
    type: str = "pc"


def _boot_sector(directory: Path) -> Path:
    program, image = directory / "screens.o", directory / "screens.img"
    subprocess.run([paths.program("as"), "--32", _SOURCE, "-o", program], check=True)
    subprocess.run([paths.program("objcopy"), "-O", "binary", "-j", ".text", program, image], check=True)
    program.unlink()
    return image


def _command(display: Display, directory: Path) -> list[str]:
    arguments = [*paths.qemu_command(display.qemu), "-machine", display.type, "-accel", "tcg",
                 "-m", "16M" if display.linux is None else "256M", "-nodefaults", "-display", "none",
                 "-qmp", f"unix:{directory}/qmp,server=on,wait=off", *display.arguments]
    if display.linux is None:
        arguments += ["-debugcon", f"file:{directory}/log", "-global", "isa-debugcon.iobase=0x402"]
    else:
        archive = initramfs.build(directory / "initramfs.cpio", init=_INIT, modules=("modules", "graphics"))
        arguments += ["-serial", f"file:{directory}/log", "-cpu", "max,la57=off",
                      "-kernel", str(paths.lab_file("kernel/vmlinuz")), "-initrd", str(archive),
                      "-append", f"console=tty0 console=ttyS0 quiet {display.linux}"]
    if display.keys:
        arguments += ["-drive", f"file={_boot_sector(directory)},format=raw,if=ide"]
    return arguments


def _wait(process: subprocess.Popen, log: Path, text: str, times: int = 1):
    deadline = time.monotonic() + _SECONDS
    while not log.exists() or log.read_text(errors="replace").count(text) < times:
        if process.poll() is not None or time.monotonic() > deadline:
            raise GuestFailed(f"no {text!r} in {log}")
        time.sleep(0.02)


def _take(qmp: Qmp, directory: Path, name: str):
    picture = str(directory / f"{name}.png")
    # Of a running guest, this makes SPICE carry out the drawing commands that a qxl has waiting.
    qmp.execute("screendump", filename=picture, format="png")
    time.sleep(0.2)
    qmp.execute("stop")
    qmp.execute("screendump", filename=picture, format="png")
    qmp.execute("migrate", uri=f"exec:cat > {shlex.quote(str(directory / f'{name}.qevm'))}")
    while (status := qmp.execute("query-migrate").get("status")) != "completed":
        if status == "failed":
            raise GuestFailed("the migration failed")
        time.sleep(0.02)
    qmp.execute("cont")


def _walk(display: Display, qmp: Qmp, process: subprocess.Popen, directory: Path):
    log = directory / "log"
    if display.linux is not None:
        _wait(process, log, "GUEST-READY")
    elif display.keys:
        _wait(process, log, "\nR\n")
    else:
        _wait(process, log, "No bootable device")
    if not display.keys:
        _take(qmp, directory, "screen")
    for number, key in enumerate(display.keys):
        qmp.execute("send-key", keys=[{"type": "qcode", "data": key}])
        _wait(process, log, "\nR\n", number + 2)
        _take(qmp, directory, key)


def capture(display: Display, directory: Path):
    """Boots the guest and leaves its pictures in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    command = _command(display, directory)
    with (directory / "qemu.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   env=paths.qemu_environment(display.qemu))
    try:
        qmp = Qmp(directory / "qmp")
        qmp.execute("migrate-set-parameters", **{"max-bandwidth": 16 << 30})
        _walk(display, qmp, process, directory)
        qmp.close()
    finally:
        process.kill()
        process.wait()
