"""The kernel of a guest of any architecture: found, and told by the addresses it uses itself.

What is right is worked out from what the guest printed and from the numbers in its VMCOREINFO, not by walking
page tables as vmconvert does.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import images
from context import Context, Failed
from lab import paths

_EM_386, _EM_PPC64, _EM_S390, _EM_AARCH64, _EM_RISCV = 3, 21, 22, 183, 243
_ADDRESSES = 1 << 64
_LOW_MEMORY = 768 << 20  # in the direct map of i386, which ends some 100 MiB further
_CHUNK = 1 << 20
_DOUBTFUL = 4  # exit code of `vmconvert verify`


def banner_of(context: Context) -> str:
    """/proc/version as the guest printed it; empty if no kernel ran."""
    console = context.capture / "console.log"
    text = console.read_text(errors="replace") if console.exists() else ""
    match = re.search(r"LAB version (Linux version .*?)\r?$", text, re.MULTILINE)
    return match[1] if match else ""


@dataclass(frozen=True)
class Addresses:
    """gva - gpa, in the direct map and in the kernel's image; the same where the kernel runs in its direct map."""

    direct_map: int
    image: int


def _number(info: str, key: str) -> int:
    match = re.search(rf"^{re.escape(key)}=(\S+)$", info, re.MULTILINE)
    if match is None:
        raise Failed(f"VMCOREINFO has no {key}")
    return int(match[1], 0 if key.startswith("NUMBER") else 16)


def _addresses(machine: int, info: str) -> Addresses:
    if machine == _EM_386:
        return Addresses(0xC0000000, 0xC0000000)
    if machine == _EM_PPC64:
        return Addresses(0xC000000000000000, 0xC000000000000000)
    if machine == _EM_S390:  # before 6.10 no line tells: the kernel runs where it lies
        moved = _number(info, "KERNELOFFSET") - _number(info, "KERNELOFFPHYS") if "KERNELOFFPHYS" in info else 0
        base = _number(info, "IDENTITYBASE") if "IDENTITYBASE" in info else 0
        return Addresses(base, moved)
    if machine == _EM_AARCH64:
        lowest = _ADDRESSES - (1 << _number(info, "NUMBER(VA_BITS)"))  # of the kernel, not of the processor
        return Addresses((lowest - _number(info, "NUMBER(PHYS_OFFSET)")) % _ADDRESSES,
                         _number(info, "NUMBER(kimage_voffset)"))
    if machine == _EM_RISCV:
        return Addresses(_number(info, "NUMBER(PAGE_OFFSET)") - _number(info, "NUMBER(phys_ram_base)"),
                         _number(info, "NUMBER(va_kernel_pa_offset)"))
    raise Failed(f"the test does not know where kernels of e_machine {machine} see their memory")


def _check_verified(context: Context, file: Path, banner: str):
    text = context.run("verify", file).stdout.decode()
    found = {label: (mark, value) for mark, label, value in re.findall(r"^(\w+) +(.+?)  +(.+)$", text, re.MULTILINE)}
    if found.get("linux_banner") != ("ok", banner) or found.get("vmcoreinfo", ("", ""))[0] != "ok":
        raise Failed(f"verify {file.name}: the guest runs {banner!r}: {text}")
    mark, tasks = found["tasks"]
    # The guest runs init, its shell's child and kernel threads; what has no BTF says so.
    if mark == "ok" and int(tasks.split()[0]) < 30 or mark == "none" and "BTF" not in tasks:
        raise Failed(f"verify {file.name}: {tasks}")
    print(f"verify {file.name}: {found['page tables'][1]}; {tasks}")


def _check_virtual(segments: list[images.VirtualSegment], addresses: Addresses, machine: int):
    """Every PT_LOAD has the address at which the kernel sees it."""
    seen = set()
    for gva, gpa, size in segments:
        if gva in (gpa + addresses.image, (gpa + addresses.image) % _ADDRESSES):
            seen.add("image")
        elif gva == (gpa + addresses.direct_map) % _ADDRESSES:
            seen.add("direct map")
        # On i386 high memory has no address, nor what the firmware keeps at the end of memory.
        elif machine != _EM_386 or gva != 0 or gpa < _LOW_MEMORY and size > 1 << 20:
            raise Failed(f"PT_LOAD of {gpa:#x} has p_vaddr {gva:#x}, not {addresses}")
    if addresses.image != addresses.direct_map and seen != {"image", "direct map"}:
        raise Failed(f"PT_LOADs show {seen} only")


def _places_of(vmcore: Path, text: bytes) -> list[int]:
    """Where in guest memory a text stands."""
    found = []
    with images.open_vmcore(vmcore) as image:
        for segment in image.segments:
            for gpa in range(segment.gpa, segment.end, _CHUNK):
                data = image.read(gpa, min(_CHUNK + len(text), segment.end - gpa))
                found += [gpa + match.start() for match in re.finditer(re.escape(text), data)
                          if match.start() < _CHUNK]
    return found


def _gdb_reads(vmcore: Path, gva: int) -> str:
    command = [paths.program("gdb-multiarch"), "-nx", "-batch", "-ex", "set print elements 1000",
               "-ex", f"core-file {vmcore}", "-ex", f"x/s {gva:#x}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _check_gdb(vmcore: Path, banner: str, addresses: Addresses, segments: list[images.VirtualSegment], console: str):
    """gdb reads linux_banner by the address it has in the kernel."""
    image = [(gpa, gpa + size) for gva, gpa, size in segments if gva == (gpa + addresses.image) % _ADDRESSES]
    places = [(gpa + addresses.image) % _ADDRESSES for gpa in _places_of(vmcore, banner.encode() + b"\n")
              if any(begin <= gpa < end for begin, end in image)]
    if symbol := re.search(r"LAB kallsyms (\w+) \w linux_banner", console):
        if int(symbol[1], 16) not in places:
            raise Failed(f"linux_banner is at {symbol[1]}, the vmcore has the text at {list(map(hex, places))}")
        places = [int(symbol[1], 16)]
    if not places:
        raise Failed("the guest's banner is nowhere in its kernel's image")
    if banner not in _gdb_reads(vmcore, places[0]):
        raise Failed(f"gdb reads at {places[0]:#x}: {_gdb_reads(vmcore, places[0])[-400:]!r}")
    print(f"gdb reads linux_banner at {places[0]:#x}")


def _drgn_walks(machine: int, info: str) -> bool:
    """Whether drgn 0.0.22 follows the page tables: of aarch64, where the processor has the kernel's address size."""
    return machine == _EM_AARCH64 and _number(info, "NUMBER(VA_BITS)") == 64 - _number(info, "NUMBER(TCR_EL1_T1SZ)")


def _check_drgn(vmcore: Path, addresses: Addresses, segments: list[images.VirtualSegment], walks: bool):
    """drgn opens it, and reads the image by its own address and, following page tables, by that in the direct map."""
    gpa = next(gpa for gva, gpa, _ in segments if gva == (gpa + addresses.image) % _ADDRESSES)
    reads = {gva: gpa for gva in ((gpa + addresses.image) % _ADDRESSES, (gpa + addresses.direct_map) % _ADDRESSES)}
    if not walks:
        reads = dict(list(reads.items())[:1])
    script = "import drgn, sys; p = drgn.Program(); p.set_core_dump(sys.argv[1]); " \
             "print(*(p.read(int(a, 16), 64).hex() for a in sys.argv[2:]))"
    result = subprocess.run(["/usr/bin/python3", "-c", script, str(vmcore), *map(hex, reads)],
                            capture_output=True, text=True, check=False)
    with images.open_vmcore(vmcore) as image:
        expected = [image.read(place, 64).hex() for place in reads.values()]
    if "No module named 'drgn'" in result.stderr:
        raise paths.Missing("python3-drgn")
    if result.stdout.split() != expected:
        raise Failed(f"drgn: {result.stderr.strip()[-400:]}{result.stdout}, not {expected}")


def check_kernel(context: Context, vmcore: Path):
    """The kernel of the capture as verify, gdb and drgn see it; that no kernel ran is told as well."""
    banner = banner_of(context)
    segments = images.virtual_segments(vmcore)
    if not banner:
        context.run("verify", vmcore, expect=_DOUBTFUL)
        if any(gva != 0 for gva, _, _ in segments):
            raise Failed("a PT_LOAD has a virtual address although no kernel ran")
        return
    _check_verified(context, vmcore, banner)
    info = next(desc for name, _, desc in images.notes(vmcore) if name == "VMCOREINFO").decode(errors="replace")
    machine, order = images.identity(vmcore)
    addresses = _addresses(machine, info)
    _check_virtual(segments, addresses, machine)
    _check_gdb(vmcore, banner, addresses, segments, (context.capture / "console.log").read_text(errors="replace"))
    _check_drgn(vmcore, addresses, segments, _drgn_walks(machine, info))
    # QEMU 7.2 takes ppc64le guests for big-endian.
    reference = context.capture / "ref.elf"
    if images.identity(reference)[1] == order:
        _check_verified(context, reference, banner)
