"""Where the lab keeps its kernel, emulators and tools, and what happens when one is absent.

A test that cannot run must say which item it lacks: `Missing` travels up to run.py,
which turns it into a skipped test instead of a passed one.
"""

import os
import shutil
from pathlib import Path

from .arches import X86, Arch

ROOT = Path(os.environ.get("VMCONVERT_LAB", "/var/cache/vmconvert-lab"))


class Missing(Exception):
    """A tool or lab item the test needs is not on this machine."""


def lab_file(relative: str) -> Path:
    """Path of a file that tests/real/setup puts into the lab."""
    path = ROOT / relative
    if not path.exists():
        raise Missing(f"{path} (run tests/real/setup)")
    return path


def program(name: str) -> str:
    """Full path of an installed program."""
    # /usr/sbin holds libvirtd and is not on every user's PATH.
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin")
    if found is None:
        raise Missing(name)
    return found


def kernel_release() -> str:
    """`uname -r` of the lab's guest kernel."""
    return lab_file("kernel/release").read_text().strip()


def qemu_command(generation: int, arch: Arch = X86) -> list[str]:
    """Command that starts QEMU: 7 is Debian 12's own, 10 is trixie's, run with trixie's ld.so."""
    name = f"qemu-system-{arch.program}"
    if generation == 7:
        return [program(name)]
    root = lab_file(arch.emulators)
    libraries = root / "usr/lib/x86_64-linux-gnu"
    loader = libraries / "ld-linux-x86-64.so.2"
    data = root / "usr/share"
    search = f"{libraries}:{libraries}/pulseaudio"
    return [str(loader), "--library-path", search, str(lab_file(f"{arch.emulators}/usr/bin/{name}")),
            "-L", str(data / "qemu"), "-L", str(data / "seabios"), "-L", str(data / "ipxe")]


def qemu_environment(generation: int, arch: Arch = X86) -> dict[str, str]:
    """Environment for that QEMU; its loadable modules must be of its own build."""
    environment = dict(os.environ)
    if generation == 10:
        environment["QEMU_MODULE_DIR"] = str(ROOT / arch.emulators / "usr/lib/x86_64-linux-gnu/qemu")
    return environment
