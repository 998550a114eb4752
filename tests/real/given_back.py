"""Memory that the lab's kernel gave back from its image while it booted: a vmcore must not hide it.

The kernel uses it as any other, by its direct-map address. drgn reads the tables of a process by that address alone.
"""

import functools
import re
import subprocess
from pathlib import Path

import images
from context import Failed
from lab import paths

_START_KERNEL_MAP = 0xFFFFFFFF80000000
# Linux 6.1 arch/x86: free_initmem(), mark_rodata_ro(), alternative_instructions(), mem_encrypt_free_decrypted_mem().
_RANGES = (("__init_begin", "__init_end"), ("_etext", "__start_rodata"), ("__end_rodata", "_sdata"),
           ("__smp_locks", "__smp_locks_end"), ("__start_bss_decrypted_unused", "__end_bss_decrypted"))


@functools.cache
def _symbols() -> dict[str, int]:
    """Those of _RANGES, where the kernel was linked."""
    text = subprocess.run([paths.program("nm"), str(paths.lab_file("kernel/vmlinux"))], capture_output=True, text=True,
                          check=True).stdout
    wanted = {name for pair in _RANGES for name in pair} | {"_stext"}
    return {name: int(value, 16) for value, _, name in (line.split() for line in text.splitlines() if line[0] != " ")
            if name in wanted}


def _vmcoreinfo(vmcore: Path) -> str:
    return next(desc for name, _, desc in images.notes(vmcore) if name == "VMCOREINFO").decode()


def check(vmcore: Path) -> None:
    """Every page of the ranges has a PT_LOAD whose p_vaddr is its direct-map address; code and data have their own."""
    info = _vmcoreinfo(vmcore)
    moved = int(re.search(r"^KERNELOFFSET=(\w+)$", info, re.MULTILINE)[1], 16)
    phys_base = int(re.search(r"^NUMBER\(phys_base\)=(-?\d+)$", info, re.MULTILINE)[1])
    segments = images.virtual_segments(vmcore)
    page_offset = segments[0][0] - segments[0][1]  # memory below the kernel

    def address_of(gpa: int) -> int | None:
        """None: not in the file, as what a guest of Xen gave back to its hypervisor."""
        return next((gva + gpa - begin for gva, begin, size in segments if begin <= gpa < begin + size), None)

    def gpa_of(symbol: str) -> int:
        return _symbols()[symbol] + moved - _START_KERNEL_MAP + phys_base

    for begin, end in _RANGES:
        for page in range(-(-gpa_of(begin) // images.PAGE), gpa_of(end) // images.PAGE):
            gpa = page * images.PAGE
            if address_of(gpa) not in (None, page_offset + gpa):
                raise Failed(f"{vmcore.name}: {gpa:#x}, given back between {begin} and {end}, has the address "
                             f"{address_of(gpa):#x}, not {page_offset + gpa:#x}")
    for symbol in ("_stext", "__start_rodata", "_sdata"):
        if address_of(gpa_of(symbol)) != _symbols()[symbol] + moved:
            raise Failed(f"{vmcore.name}: {symbol} has the address {address_of(gpa_of(symbol)):#x}")
