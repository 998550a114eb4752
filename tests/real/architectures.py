"""Checks of guests of every architecture: headers, notes, and registers as gdb shows them."""

import re
import struct
import subprocess
from pathlib import Path

import foreign_kernels
import images
from context import Context, Failed
from conversions import check_outputs, require_equal_notes
from lab import paths

_EM_PPC64, _EM_S390 = 21, 22
_NT_PRSTATUS, _NT_PPC_VMX, _NT_PPC_SPE, _NT_PPC_VSX = 1, 0x100, 0x101, 0x102
_VSCR, _VRSAVE = 512, 528  # in NT_PPC_VMX
_PSW_CONDITION_CODE = 3 << 44
_PR_PID = slice(32, 36)  # in NT_PRSTATUS of 64-bit architectures

# QEMU's names of registers that gdb names otherwise. Both are in lower case here.
_GDB_NAMES = {"psw": "pswm", "addr": "pswa", "nip": "pc", "xer": "xer", "efl": "eflags"}
_RISCV_NAMES = {"s0": "fp"}


def _vmcore(context: Context) -> Path:
    """Our vmcore of the capture, converted once."""
    output = context.work / "out.elf"
    return output if output.exists() else context.convert("elf")


def _as_it_should_be(note: tuple[str, int, bytes], cpu: int, machine: int, order: str) -> tuple[str, int, bytes]:
    """A note of QEMU's, without QEMU's errors: docs/writers/elf.md, "Notes"."""
    name, note_type, desc = note
    if machine == _EM_PPC64 and note_type in (_NT_PPC_VMX, _NT_PPC_VSX):
        name = "LINUX"
    if machine in (_EM_PPC64, _EM_S390) and note_type == _NT_PRSTATUS:
        # 7.2 leaves it zero on ppc64 and writes it in the host's order on s390x.
        right, found = struct.pack(order + "I", cpu), desc[_PR_PID]
        if found not in (right, bytes(4), struct.pack("<I", cpu)):
            raise Failed(f"QEMU's dump has pr_pid {found.hex()} for vCPU {cpu - 1}: the test does not know that")
        desc = desc[:32] + right + desc[36:]
    return _without_vscr((name, note_type, desc), machine, order)


def _without_vscr(note: tuple[str, int, bytes], machine: int, order: str) -> tuple[str, int, bytes]:
    """Blanks what of ppc64's Altivec state cannot be compared: QEMU writes no VRSAVE, and VSCR for big-endian readers."""
    name, note_type, desc = note
    if (machine, note_type) == (_EM_PPC64, _NT_PPC_VMX):
        kept = _VSCR if order == "<" else _VRSAVE
        desc = desc[:kept] + bytes(len(desc) - kept)
    return name, note_type, desc


def _without_found_vmcoreinfo(context: Context, output: Path, expected: list) -> list[tuple[str, int, bytes]]:
    """The notes, less the VMCOREINFO at their end that QEMU was not told of and vmconvert found."""
    actual = images.notes(output)
    if any(note[0] == "VMCOREINFO" for note in expected) or actual[-1][0] != "VMCOREINFO":
        return actual
    banner = foreign_kernels.banner_of(context)
    release = banner.split()[2] if banner else "no Linux"
    if not actual[-1][2].startswith(f"OSRELEASE={release}\n".encode()):
        raise Failed(f"VMCOREINFO begins {actual[-1][2][:64]!r}, the guest runs {release}")
    return actual[:-1]


def check_notes(context: Context):
    """Notes are, byte for byte, those QEMU writes for the same state, but for its known errors."""
    reference, output = context.capture / "ref.elf", _vmcore(context)
    machine, order = images.identity(reference)
    if images.identity(output)[0] != machine:
        raise Failed(f"e_machine is {images.identity(output)[0]}, QEMU has {machine}")
    if images.identity(output)[1] != order:
        if machine != _EM_PPC64:
            raise Failed(f"byte order is {images.identity(output)[1]}, QEMU has {order}")
        print("byte order is not QEMU's, which takes ppc64le guests for big-endian before version 10")
        return
    expected, cpu = [], 0
    for note in images.notes(reference):
        cpu += note[:2] == ("CORE", _NT_PRSTATUS)
        if machine != _EM_PPC64 or note[1] != _NT_PPC_SPE:  # no 64-bit CPU has an SPE
            expected.append(_as_it_should_be(note, cpu, machine, order))
    actual = [_without_vscr(note, machine, order) for note in _without_found_vmcoreinfo(context, output, expected)]
    require_equal_notes(actual, expected)
    print(f"{len(actual)} notes of {cpu} vCPUs equal")


def _comparable(registers: dict[str, int]) -> dict[str, int]:
    """Without the condition code of s390x, which QEMU's monitor shows as it was some instructions ago."""
    return {name: value & ~_PSW_CONDITION_CODE if name == "pswm" else value for name, value in registers.items()}


def _qemu_registers(text: str) -> dict[str, int]:
    """The registers of one vCPU as `info registers` prints them, by gdb's names."""
    found = {}
    for name, value in re.findall(r"\b([A-Za-z]\w*)\s*=\s*([0-9a-fA-F]{8,})\b", text):  # X00=, EAX=, R00=
        name = re.sub(r"^([xr])0(\d)$", r"\1\2", name.lower())
        found.setdefault(_GDB_NAMES.get(name, name), int(value, 16))
    if psw := re.search(r"PSW=mask ([0-9a-f]+) addr ([0-9a-f]+)", text):
        found["pswm"], found["pswa"] = int(psw[1], 16), int(psw[2], 16)
    for name, value in re.findall(r"^\s+x\d+/(\w+)\s+([0-9a-f]{16})", text, re.MULTILINE):  # riscv: x1/ra
        found[_RISCV_NAMES.get(name, name)] = int(value, 16)
    for name, value in re.findall(r"\s*x\d+/(\w+)\s+([0-9a-f]{16})", text):
        found.setdefault(_RISCV_NAMES.get(name, name), int(value, 16))
    if pc := re.search(r"^ pc\s+([0-9a-f]{16})", text, re.MULTILINE):
        found["pc"] = int(pc[1], 16)
    for first, row in re.findall(r"^GPR(\d+) (.+)$", text, re.MULTILINE):  # ppc64: four a line
        for number, value in enumerate(row.split(), start=int(first)):
            found[f"r{number}"] = int(value, 16)
    for name in ("NIP", "LR", "CTR", "XER", "MSR"):
        if match := re.search(rf"\b{name} ([0-9a-f]{{16}})", text):
            found[_GDB_NAMES.get(name.lower(), name.lower())] = int(match[1], 16)
    return found


def _gdb_registers(text: str) -> dict[str, int]:
    return {name: int(value, 16) for name, value in re.findall(r"^(\w+)\s+0x([0-9a-f]+)", text, re.MULTILINE)}


def check_gdb(context: Context):
    """gdb shows a thread for each vCPU, with the registers QEMU's monitor showed."""
    monitor = (context.capture / "registers.txt").read_text().split("CPU#")[1:]
    # On ppc64, "CPU#0" stands in the text of a CPU as well.
    monitor = [text for text in monitor if len(text) > 400]
    command = [paths.program("gdb-multiarch"), "-nx", "-batch", "-ex", f"core-file {_vmcore(context)}",
               "-ex", "info threads"]
    for number in range(1, len(monitor) + 1):
        command += ["-ex", f"echo = thread {number}\\n", "-ex", f"thread {number}", "-ex", "info registers"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    parts = result.stdout.split("= thread ")
    threads = re.findall(r"^[* ] \d+\s+LWP (\d+) ", parts[0], re.MULTILINE)
    if threads != [str(number + 1) for number in range(len(monitor))]:
        raise Failed(f"gdb shows threads {threads} for {len(monitor)} vCPUs: {result.stdout[-400:]}{result.stderr[-400:]}")
    for cpu, (expected_text, actual_text) in enumerate(zip(monitor, parts[1:])):
        expected = _comparable(_qemu_registers(expected_text))
        actual = _comparable(_gdb_registers(actual_text))
        shared = expected.keys() & actual.keys()
        if len(shared) < 9:  # i386 has eight general registers and the program counter
            raise Failed(f"only {sorted(shared)} can be compared of {sorted(actual)}")
        for name in shared:
            if expected[name] != actual[name]:
                raise Failed(f"vCPU {cpu}: gdb shows {name} {actual[name]:#x}, QEMU {expected[name]:#x}")
    print(f"gdb: {len(shared)} registers of each of {len(monitor)} vCPUs as in QEMU's monitor")


def check_eu_readelf(context: Context):
    """elfutils decodes the notes without a complaint."""
    output = _vmcore(context)
    result = subprocess.run([paths.program("eu-readelf"), "-n", str(output)], capture_output=True, text=True,
                            check=False)
    expected = sum(note[:2] == ("CORE", _NT_PRSTATUS) for note in images.notes(context.capture / "ref.elf"))
    shown = len(re.findall(r"^\s+CORE\s+\d+\s+PRSTATUS", result.stdout, re.MULTILINE))
    if result.returncode != 0 or result.stderr.strip() or shown != expected:
        raise Failed(f"eu-readelf: exit code {result.returncode}, {shown} PRSTATUS: {result.stderr.strip()[-400:]}")


def check_architecture(context: Context):
    """Memory, notes and registers of one guest, in one conversion after another."""
    check_outputs(context)
    check_notes(context)
    check_eu_readelf(context)
    check_gdb(context)
    foreign_kernels.check_kernel(context, _vmcore(context))
