"""Guests of the Xen hypervisor: Xen, a dom0 with its toolstack and the guests all run inside one emulated PC.

The captures are made in that dom0 by `xen-dom0`, whose functions are named in `Hypervisor.captures`; it
leaves them on a disk, from which they are taken apart here.
"""

import gzip
import lzma
import re
import shutil
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import initramfs, paths
from .guest import GuestFailed

# What xen-mini.S gives back, where else it leaves a mark (at least), and its registers.
MINI_HOLES = frozenset((0x10, 0x20, 0x21, 0x22, 0xFF, 0x280, 0x300, 0x301, 0x3FE))
MINI_PAGES = (*range(0x100), *range(0x180, 0x400))
MINI_REGISTERS = {
    "rax": 0x1111222233334444, "rbx": 0x5555666677778888, "rcx": 0x9999AAAABBBBCCCC, "rdx": 0xDDDDEEEEFFFF0000,
    "rsi": 0x0123456789ABCDEF, "rdi": 0xFEDCBA9876543210, "r8": 0x0808080808080808, "r9": 0x0909090909090909,
    "r10": 0x1010101010101010, "r12": 0x1212121212121212,
}

_HERE = Path(__file__).parent
_MIB = 1 << 20
_XEN_MIB = 250
# PVH guests need SVM and nested paging, which QEMU emulates for AMD's processors. What is off fails in QEMU 7.2: with
# SMAP, an IRET of a paravirtual kernel, which runs in ring 3; the MWAIT of Xen's idle loop; a RDTSCP of a PVH guest,
# which Xen is told to be a RDTSC.
_PROCESSOR = "EPYC,smap=off,monitor=off,rdtscp=off"
_DISK = 8 << 30        # sparse
_DIRECTORY, _EXECUTABLE, _LINK = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFLNK | 0o777
_TOOLS = ("bin/xl", "bin/xenstored", "bin/xenconsoled", "bin/xen-init-dom0", "bin/xenctx", "bin/libxl-save-helper")
_XENSTORE = ("exists", "read", "write")
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LOADER = "lib64/ld-linux-x86-64.so.2"
_UNLISTED = "lib/x86_64-linux-gnu/libgcc_s.so.1"  # loaded when xl ends a thread
_KERNEL_FORMATS = {b"\xfd7zXZ": lambda data: lzma.LZMADecompressor().decompress(data),
                   b"\x28\xb5\x2f\xfd": lambda data: _pipe(data, paths.program("zstd"), "-dcq")}


@dataclass(frozen=True)
class Hypervisor:
    """A version of Xen, and the kernel of dom0 and of the guests. All come from the lab."""

    captures: tuple[str, ...]      # functions of xen-dom0, in this order
    tree: str = "xen"              # unpacked packages
    version: str = "4.17"
    kernel: str = "kernel"
    guests_mib: int = 160          # memory of the largest guest, with its page tables
    dom0_mib: int = 1000           # its files and one capture at a time are in its memory, too
    seconds: int = 1500            # a loaded two-core machine; an idle one needs a tenth


def _pipe(data: bytes, *command: str) -> bytes:
    # The stream is followed by the length of the kernel, at which zstd complains after it has written everything.
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout


def uncompressed_kernel(vmlinuz: Path) -> bytes:
    """The ELF file in a bzImage: Xen and its toolstack need not unpack it under emulation.

    Layout: the kernel's Documentation/x86/boot.rst, setup_sects, payload_offset and payload_length.
    """
    image = vmlinuz.read_bytes()
    begin = (image[0x1F1] + 1) * 512 + int.from_bytes(image[0x248:0x24C], "little")
    payload = image[begin:begin + int.from_bytes(image[0x24C:0x250], "little")]
    for magic, unpack in _KERNEL_FORMATS.items():
        if payload.startswith(magic):
            kernel = unpack(payload)
            if kernel.startswith(b"\x7fELF"):
                return kernel
    raise GuestFailed(f"{vmlinuz}: cannot unpack a payload that begins with {payload[:4].hex()}")


def _in(root: Path, name: str) -> Path:
    """A file of the tree, or this machine's where the tree has none."""
    return next(path for path in (root / name, root / "usr" / name, Path("/", name)) if path.exists())


def _libraries(root: Path, program: Path) -> list[Path]:
    """Shared libraries of a program: those of the tree, and of this machine where the tree has none."""
    search = f"{root / _LIBRARIES}:{root / 'lib/x86_64-linux-gnu'}"
    listed = subprocess.run([str(_in(root, _LOADER)), "--library-path", search, "--list", str(program)],
                            capture_output=True, text=True, check=False).stdout
    found = [line.split(" => ")[1].split(" (")[0] for line in listed.splitlines() if " => /" in line]
    if not found:
        raise GuestFailed(f"no libraries of {program} found: {listed}")
    return [Path(name) for name in found]


def _mini(boot: Path) -> bytes:
    """The kernel of xen-mini.S."""
    program, kernel = boot / "mini.o", boot / "mini"
    subprocess.run([paths.program("as"), _HERE / "xen-mini.S", "-o", program], check=True)
    subprocess.run([paths.program("ld"), "--section-start=.note.Xen=0x100000", "-Ttext=0x101000", "-e", "start",
                    program, "-o", kernel], check=True)
    return kernel.read_bytes()


def _guest_files(boot: Path) -> list[tuple[str, int, bytes]]:
    plain = stat.S_IFREG | 0o644
    archive = initramfs.build(boot / "guest.cpio", init=_HERE / "xen-domu", modules=())
    return [("guest", _DIRECTORY, b""), ("guest/initramfs", plain, archive.read_bytes()),
            ("guest/vmlinux", plain, (boot / "vmlinux").read_bytes()), ("guest/mini", plain, _mini(boot))]


def _dom0_files(hypervisor: Hypervisor, root: Path, boot: Path) -> list[tuple[str, int, bytes]]:
    home = Path(f"usr/lib/xen-{hypervisor.version}")
    programs = [home / tool for tool in _TOOLS] + [Path("usr/bin", f"xenstore-{name}") for name in _XENSTORE]
    libraries = {Path(_LIBRARIES, path.name): path for program in programs for path in _libraries(root, root / program)}
    libraries[Path(_LIBRARIES, Path(_UNLISTED).name)] = _in(root, _UNLISTED)
    entries = [(name, _DIRECTORY, b"") for name in ("bin", "dev", "modules", "lib64", "usr", "usr/bin", "usr/sbin",
                                                    "usr/lib", _LIBRARIES, str(home), str(home / "bin"))]
    entries += [("bin/busybox", _EXECUTABLE, Path(paths.program("busybox")).read_bytes()),
                ("bin/sh", _LINK, b"busybox"), ("lib-xen", _LINK, str(home).encode()),
                ("usr/sbin/xl", _LINK, b"/lib-xen/bin/xl"),
                (_LOADER, _EXECUTABLE, _in(root, _LOADER).read_bytes()),
                ("init", _EXECUTABLE, (_HERE / "xen-dom0").read_bytes())]
    entries += [(str(program), _EXECUTABLE, (root / program).read_bytes()) for program in programs]
    entries += [(str(name), _EXECUTABLE, path.read_bytes()) for name, path in libraries.items()]
    for folder in ("modules", "xen"):
        for module in sorted(paths.lab_file(f"{hypervisor.kernel}/{folder}").iterdir()):
            entries.append((f"modules/{module.name}", stat.S_IFREG | 0o644, module.read_bytes()))
    return entries + _guest_files(boot)


def _command(hypervisor: Hypervisor, boot: Path) -> list[str]:
    memory = hypervisor.dom0_mib + _XEN_MIB + hypervisor.guests_mib
    dom0 = f"console=hvc0 quiet rdinit=/init lab.do={',,'.join(hypervisor.captures)}"  # a comma separates modules
    return [*paths.qemu_command(7), "-machine", "q35", "-m", f"{memory}M", "-smp", "2",
            "-cpu", _PROCESSOR, "-accel", "tcg,thread=multi", "-nodefaults", "-display", "none", "-no-reboot",
            "-serial", f"file:{boot}/console.txt",
            "-drive", f"file={boot}/disk,format=raw,if=none,id=disk,cache=unsafe",
            "-device", "virtio-blk-pci,drive=disk", "-kernel", str(boot / "xen"), "-append",
            f"console=com1 com1=115200,8n1 dom0_mem={hypervisor.dom0_mib}M,max:{hypervisor.dom0_mib}M "
            "dom0_max_vcpus=2 noreboot",
            "-initrd", f"{boot}/vmlinux {dom0},{boot}/dom0.cpio"]


def _wait(process: subprocess.Popen, hypervisor: Hypervisor, boot: Path):
    console, deadline = boot / "console.txt", time.monotonic() + hypervisor.seconds
    while True:
        text = console.read_text(errors="replace") if console.exists() else ""
        if "LAB-DONE" in text:
            return
        if process.poll() is not None or "LAB-FAILED" in text or time.monotonic() > deadline:
            time.sleep(1)  # for what else it says
            said = (boot / "qemu.log").read_text(errors="replace")
            raise GuestFailed(f"no LAB-DONE: {console.read_text(errors='replace')[-2500:]} {said[-800:]}")
        time.sleep(0.2)


def _unpack(disk: Path, directory: Path):
    """Takes the files off the disk, as xen-dom0 wrote them."""
    with disk.open("rb") as source:
        index = source.read(_MIB).rstrip(b"\0").decode()
        for line in index.splitlines():
            name, at, size = line.split()
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            source.seek(int(at) * _MIB)
            left = int(size)
            with target.open("wb") as copy:
                while left:
                    left -= copy.write(source.read(min(left, _MIB)))


def _write_registers(state: Path):
    """Where each vCPU was, in the words of QEMU's monitor."""
    contexts = [state / f"xenctx{number}" for number in range(len(list(state.glob("xenctx*"))))]
    instructions = [re.search(r"^rip: ([0-9a-f]+)", context.read_text(), re.MULTILINE)[1] for context in contexts]
    (state / "registers.txt").write_text("".join(f"RIP={value}\n" for value in instructions))


def _prepare(hypervisor: Hypervisor, boot: Path):
    root = paths.lab_file(hypervisor.tree)
    image = paths.lab_file(f"{hypervisor.tree}/boot/xen-{hypervisor.version}-amd64.gz")
    (boot / "xen").write_bytes(gzip.decompress(image.read_bytes()))
    (boot / "vmlinux").write_bytes(uncompressed_kernel(paths.lab_file(f"{hypervisor.kernel}/vmlinuz")))
    initramfs.pack(boot / "dom0.cpio", _dom0_files(hypervisor, root, boot))
    with (boot / "disk").open("wb") as disk:
        disk.truncate(_DISK)


def capture(hypervisor: Hypervisor, directory: Path):
    """Fills `directory`: a folder for each guest with its console and configuration, in it one for each state.

    A state has guest.core, guest.save or both, and what xenctx and, from it, registers.txt tell of the vCPUs.
    """
    boot = directory / "boot"
    shutil.rmtree(boot, ignore_errors=True)   # of a capture that failed
    boot.mkdir(parents=True)
    _prepare(hypervisor, boot)
    with (boot / "qemu.log").open("wb") as log:
        process = subprocess.Popen(_command(hypervisor, boot), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait(process, hypervisor, boot)
    finally:
        process.kill()
        process.wait()
    _unpack(boot / "disk", directory)
    for state in {path.parent for path in directory.glob("*/*/xenctx0")}:
        _write_registers(state)
    (boot / "console.txt").rename(directory / "console.txt")
    shutil.rmtree(boot)
