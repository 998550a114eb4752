"""Checks of VMware's files: a real guest's memory and registers go into them and come out unharmed."""

import os
import random
import shutil
import time
from pathlib import Path
from typing import Callable

import compare
import images
from context import Context, Failed
from lab import vmware

_EXIT_SALVAGED = 3
_QEMU_REGISTERS_END = 152    # of QEMU's note: general registers, rip, rflags
_GIB = 1 << 30


class _Guest:
    """What a capture holds of the guest, in VMware's terms."""

    def __init__(self, context: Context):
        self.context = context
        self.reference = compare.Reference(context.capture)
        self.notes = images.notes(context.capture / "ref.elf")
        self.vcpus = vmware.vcpus(self.notes)
        self.ram = compare.unite((region.begin, region.end) for region in self.reference.ram)
        self.memory = sum(end - begin for begin, end in self.ram)

    @property
    def image(self) -> images.Image:
        return self.reference.image

    def folder(self, name: str) -> Path:
        path = self.context.work / name
        path.mkdir()
        return path

    def state(self, cpus: Callable = vmware.Checkpoint.cpus_packed, **options) -> vmware.Checkpoint:
        return cpus(vmware.Checkpoint(**options).product(self.memory), self.vcpus)


def _check_notes(guest: _Guest, output: Path):
    """PRSTATUS is QEMU's byte for byte; of QEMU's own note what VMware saves."""
    expected = [note for note in guest.notes if note[0] in ("CORE", "QEMU")]
    actual = [note for note in images.notes(output) if note[0] in ("CORE", "QEMU")]
    if [note[:2] for note in actual] != [note[:2] for note in expected]:
        raise Failed(f"{output.name}: notes are {[note[:2] for note in actual]}")
    for number, ((name, _, ours), (_, _, theirs)) in enumerate(zip(actual, expected)):
        same = ours == theirs
        if name == "QEMU":
            same = ours[:_QEMU_REGISTERS_END] == theirs[:_QEMU_REGISTERS_END]
            mine, other = vmware.vcpus([(name, 0, ours)])[0], vmware.vcpus([(name, 0, theirs)])[0]
            same = same and mine.control == other.control
            for segment, (selector, limit, base) in other.segments.items():
                got = mine.segments[segment]
                if segment in ("gdt", "idt"):
                    same = same and got == (0, limit & 0xFFFF, base)
                else:
                    same = same and (got[0], got[2]) == (selector, base)
        if not same:
            raise Failed(f"{output.name}: note {number} ({name}) differs from QEMU's")


def _check_exact(guest: _Guest, source: Path, *options: str | Path, notes: bool = True) -> Path:
    """The output holds the guest's RAM, all of it and nothing else."""
    output = source.parent / "out.elf"
    guest.context.run(source, "-o", output, *options)
    with images.open_vmcore(output) as image:
        compare.compare_segments(guest.reference, image)
    if notes:
        _check_notes(guest, output)
    print(f"{source.parent.name}: {guest.memory >> 20} MiB equal")
    return output


def _check_ram(guest: _Guest, source: Path, *options: str | Path, notes: bool = True):
    """The output holds the guest's RAM; as VMware saves it, what lies between is there, too."""
    output = source.parent / "out.elf"
    guest.context.run(source, "-o", output, *options)
    with images.open_vmcore(output) as image:
        if compare.subtract(guest.ram, image.ranges()):
            raise Failed(f"{source.parent.name}: RAM is missing")
        for begin, end in guest.ram:
            for low, high in compare.unite(image.data_ranges(begin, end), guest.image.data_ranges(begin, end)):
                for gpa in range(low, high, 1 << 20):
                    size = min(1 << 20, high - gpa)
                    if image.read(gpa, size) != guest.image.read(gpa, size):
                        raise Failed(f"{source.parent.name}: memory differs near {gpa:#x}")
    if notes:
        _check_notes(guest, output)
    print(f"{source.parent.name}: {guest.memory >> 20} MiB equal")


def _shuffled(guest: _Guest) -> list[vmware.Piece]:
    """RAM in pieces that are neither in the guest's order in the table nor in the image."""
    cuts = []
    for begin, end in guest.ram:
        middle = (begin + end) // 2 // vmware.PAGE * vmware.PAGE
        cuts += [(begin, middle), (middle, end)] if begin < middle else [(begin, end)]
    order = random.Random(5)
    order.shuffle(cuts)
    pieces = vmware.pack(cuts)
    order.shuffle(pieces)
    return pieces


def _flat(guest: _Guest, low: int) -> list[vmware.Piece]:
    """RAM as VMware has it: up to the gap, and from 4 GiB on. What QEMU has no RAM for stays zero."""
    pieces = []
    for begin, end in guest.ram:
        pieces.append(vmware.Piece(begin, end, begin if begin < 4 * _GIB else begin - 4 * _GIB + low))
    return pieces


def _check_inside(guest: _Guest):
    folder = guest.folder("inside")
    state = guest.state(vmware.Checkpoint.cpus_single, magic=0xBAD1BAD1).group("memory")
    pieces = vmware.pack(guest.ram)
    state.regions(pieces).value("align_mask", 0xFFFF, 0, 0)
    state.write_with_memory(folder / "guest.vmss", guest.image, pieces)
    _check_exact(guest, folder / "guest.vmss")
    os.truncate(folder / "guest.vmss", (folder / "guest.vmss").stat().st_size * 2 // 3)
    guest.context.run(folder / "guest.vmss", "-o", folder / "cut.elf", expect=1)
    guest.context.run(folder / "guest.vmss", "-o", folder / "cut.elf", "--salvage", expect=_EXIT_SALVAGED)
    _check_notes(guest, folder / "cut.elf")
    with images.open_vmcore(folder / "cut.elf") as image:
        for begin, end in image.ranges():
            for gpa in range(begin, end, vmware.PAGE):
                if image.read(gpa, vmware.PAGE) != guest.image.read(gpa, vmware.PAGE):
                    raise Failed(f"inside, cut: memory differs at {gpa:#x}")
    shutil.rmtree(folder)


def _check_narrow_words(guest: _Guest):
    folder = guest.folder("narrow-words")
    pieces = _shuffled(guest)
    state = guest.state(vmware.Checkpoint.cpus_single, magic=0xBED2BED0, wide=False)
    state.group("memory").regions(pieces)
    state.write_with_memory(folder / "guest.vmsn", guest.image, pieces)
    _check_exact(guest, folder / "guest.vmsn")
    shutil.rmtree(folder)


def _check_beside(guest: _Guest):
    """Either half leads to the other; and a compressed memory file."""
    folder = guest.folder("beside")
    pieces = _shuffled(guest)
    state = guest.state().group("memory").regions(pieces)
    state.write(folder / "Guest-Snapshot1.vmsn")
    vmware.write_memory(guest.image, pieces, folder / "guest-snapshot1.VMEM")
    first = _check_exact(guest, folder / "Guest-Snapshot1.vmsn").read_bytes()
    for source, *options in ((folder / "guest-snapshot1.VMEM",),
                             (folder / "other.mem", "--from", "vmware-vmem", "--state",
                              folder / "Guest-Snapshot1.vmsn")):
        if options:
            (folder / "guest-snapshot1.VMEM").rename(source)
        (folder / "out.elf").unlink()
        if _check_exact(guest, source, *options).read_bytes() != first:
            raise Failed(f"{source.name} leads to another output")
    (folder / "out.elf").unlink()
    message = guest.context.run(folder / "Guest-Snapshot1.vmsn", "-o", folder / "out.elf", expect=1).stderr.decode()
    if "there is no Guest-Snapshot1.vmem beside it" not in message:
        raise Failed(f"without its memory: {message}")
    vmware.compress(folder / "other.mem", folder / "Guest-Snapshot1.vmem")
    (folder / "other.mem").unlink()
    packed = (folder / "Guest-Snapshot1.vmem").stat().st_size
    if _check_exact(guest, folder / "Guest-Snapshot1.vmsn").read_bytes() != first:
        raise Failed("the compressed memory leads to another output")
    print(f"compressed: {packed >> 20} of {vmware.size(pieces) >> 20} MiB")
    shutil.rmtree(folder)


def _write_panic(guest: _Guest, folder: Path) -> Path:
    (low, low_end), *rest = guest.ram
    ranges = [(low, low_end), (rest[0][0], rest[-1][1])] if rest else [(low, low_end)]
    hole = (low_end, rest[0][0]) if rest else None
    memory = sum(end - begin for begin, end in ranges)
    shift = hole[1] - hole[0] if hole else 0
    pieces = [vmware.Piece(begin, end, begin if end <= low_end else begin - shift) for begin, end in guest.ram]
    vmware.write_panic(folder / "debug.guest", guest.vcpus, memory, hole)
    vmware.write_memory(guest.image, pieces, folder / "debug.vmem")
    os.truncate(folder / "debug.vmem", memory)
    return folder / "debug.guest"


def _check_panic(guest: _Guest):
    folder = guest.folder("panic")
    _write_panic(guest, folder)
    output = folder / "out.elf"
    for source in (folder / "debug.guest", folder / "debug.vmem"):
        _check_ram(guest, source, notes=False)
        prstatus = [note for note in guest.notes if note[0] == "CORE"]
        if [note for note in images.notes(output) if note[0] == "CORE"] != prstatus:
            raise Failed("panic: PRSTATUS differs from QEMU's")
        output.unlink()
    shutil.rmtree(folder)


def check_layouts(context: Context):
    """Memory inside and beside, regions in any order, both widths of sizes, compression, single and packed
    registers, and panic dumps."""
    guest = _Guest(context)
    with guest.image:
        for check in (_check_inside, _check_narrow_words, _check_beside, _check_panic):
            check(guest)


_SPARSE = 128 * _GIB


def _check_sparse(guest: _Guest, folder: Path, low: int):
    """Memory of 128 GiB that is nearly all holes takes no longer than what is in it, and stays sparse."""
    memory = folder / "guest.vmem"
    os.truncate(memory, _SPARSE)
    pieces = [vmware.Piece(0, low, 0), vmware.Piece(4 * _GIB, 4 * _GIB + _SPARSE - low, low)]
    guest.state().group("memory").regions(pieces).write(folder / "guest.vmsn")
    started = time.monotonic()
    guest.context.run(memory, "-o", folder / "sparse.elf")
    seconds, used = time.monotonic() - started, (folder / "sparse.elf").stat().st_blocks * 512
    if seconds > 30 or used > 2 * memory.stat().st_blocks * 512:
        raise Failed(f"128 GiB of holes took {seconds:.0f} s and {used >> 20} MiB")
    print(f"128 GiB with {used >> 20} MiB of data in {seconds:.1f} s")


def check_split(context: Context):
    """More than 3 GiB: split as regions say, and by the rule where nothing says so; holes cost nothing."""
    guest = _Guest(context)
    with guest.image:
        low = max(end for _, end in guest.ram if end < 4 * _GIB)
        folder = guest.folder("split")
        memory = folder / "guest.vmem"
        vmware.write_memory(guest.image, _flat(guest, low), memory)
        end = max(end for _, end in guest.ram)
        told = context.run(memory, "-o", folder / "alone.raw").stderr.decode()
        if "is a guess" not in told:
            raise Failed(f"no warning of a guess: {told!r}")
        (folder / "alone.raw").unlink()
        _check_ram(guest, memory, notes=False)
        output = folder / "out.elf"
        pieces = [vmware.Piece(0, low, 0), vmware.Piece(4 * _GIB, end, low)]
        for name, groups in (("guest.vmss", guest.state().group("memory").value("regionsCount", 0)),
                             ("guest.vmsn", guest.state().group("memory").regions(pieces))):
            output.unlink()
            groups.write(folder / name)
            _check_ram(guest, folder / name)
            (folder / name).unlink()
        _check_sparse(guest, folder, low)


def as_state(context: Context) -> tuple[Path, ...]:
    """A .vmss with its .vmem, in RAM's own regions and with packed registers."""
    guest = _Guest(context)
    with guest.image:
        folder = guest.folder("state")
        pieces = vmware.pack(guest.ram)
        guest.state().group("memory").regions(pieces).write(folder / "guest.vmss")
        vmware.write_memory(guest.image, pieces, folder / "guest.vmem")
    return (folder / "guest.vmss",)


def as_memory_alone(context: Context) -> tuple[Path, ...]:
    """A .vmem, and nothing that tells what it is."""
    guest = _Guest(context)
    with guest.image:
        folder = guest.folder("alone")
        vmware.write_memory(guest.image, _flat(guest, 3 * _GIB), folder / "guest.vmem")
    return (folder / "guest.vmem",)


def as_panic_dump(context: Context) -> tuple[Path, ...]:
    """A .guest with its .vmem."""
    guest = _Guest(context)
    with guest.image:
        return (_write_panic(guest, guest.folder("panic-dump")),)
