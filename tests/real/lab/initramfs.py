"""Builds the guest's initramfs: busybox, a few kernel modules and our /init, as a "newc" cpio archive.

Built for every run, so that the guest always matches the checkout's `init`. Format:
the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import stat
from pathlib import Path

from . import paths
from .arches import X86, Arch

_INIT = Path(__file__).with_name("init")


def _pad4(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _entry(number: int, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _pad4(header + encoded) + _pad4(data)


def _busybox(arch: Arch) -> Path:
    return Path(paths.program("busybox")) if arch == X86 else paths.lab_file(f"{arch.kernel}/busybox")


def build(target: Path, arch: Arch = X86, init: Path = _INIT, modules: tuple[str, ...] = ("modules",)) -> Path:
    """Writes the archive to `target`, uncompressed: the guest need not spend time on it.

    `modules` are directories of that architecture's kernel.
    """
    directory, executable = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
    entries = [
        ("bin", directory, b""),
        ("dev", directory, b""),
        ("modules", directory, b""),
        ("bin/busybox", executable, _busybox(arch).read_bytes()),
        ("bin/sh", stat.S_IFLNK | 0o777, b"busybox"),
        ("init", executable, init.read_bytes()),
    ]
    for folder in modules:
        for module in sorted(paths.lab_file(f"{arch.kernel}/{folder}").iterdir()):
            entries.append((f"modules/{module.name}", stat.S_IFREG | 0o644, module.read_bytes()))
    return pack(target, entries)


def pack(target: Path, entries: list[tuple[str, int, bytes]]) -> Path:
    """Writes (name, mode, content) as an archive, with the console; a directory comes before what is in it."""
    with target.open("wb") as archive:
        for number, (name, mode, data) in enumerate(entries, start=1):
            archive.write(_entry(number, name, mode, data))
        # The kernel opens /dev/console before /init has mounted devtmpfs.
        archive.write(_entry(len(entries) + 1, "dev/console", stat.S_IFCHR | 0o600, device=(5, 1)))
        archive.write(_entry(0, "TRAILER!!!", 0))
    return target
