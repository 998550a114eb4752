"""Checks of vmconvert's outputs, and of the ways a save can reach it."""

import subprocess
from dataclasses import replace
from pathlib import Path

import compare
import images
import records
from context import FORMATS, Context, Failed
from lab import paths

_CHUNK = 4 << 20
_COMPRESSORS = ("gzip", "bzip2", "xz", "zstd", "lz4", "lzop")
_FAST = {"xz": ("-0", "-T2"), "bzip2": ("-1",)}  # their default levels would take most of the test's time
_EXIT_SALVAGED = 3


def _require_data(reference: compare.Reference):
    """A region of nothing but zeros would match almost any output, so the guest must have used all of them."""
    for region in reference.ram:
        if region.end - region.begin >= 1 << 20 and not reference.image.has_data(region.begin, region.end):
            raise Failed(f"the guest left {region} all zeros: the capture proves nothing there")


def check_outputs(context: Context):
    """ELF, raw and LiME hold the guest's memory, all of it and nothing else."""
    reference = compare.Reference(context.capture)
    with reference.image:
        _require_data(reference)
        outputs = {name: context.convert(name) for name in FORMATS}
        for line in compare.compare_outputs(reference, **outputs):
            print(line)


def check_encoding(context: Context, form: str, least: int = 1000, offset: int = 0):
    """As check_outputs, of a save that holds at least so many pages in this form."""
    counts = records.count(context.save, offset)
    print(f"records: {dict(counts)}")
    if counts[form] < least:
        raise Failed(f"{counts[form]} pages are {form}, at least {least} are needed: the capture proves nothing")
    check_outputs(context)


def check_background_snapshot(context: Context):
    """As check_outputs, of a stream whose RAM section never ends."""
    if records.count(context.save)["end"]:
        raise Failed("the RAM section has an end: not a background snapshot")
    check_outputs(context)


def check_connections(context: Context):
    """What went over one connection of a multifd migration is not a save, and must not be taken for one."""
    connections = sorted(context.capture.glob("connection*"))
    if len(connections) < 3:
        raise Failed(f"{len(connections)} connections; multifd has a main one and two others")
    output = context.work / "out.elf"
    for connection in connections:
        message = context.run(connection, "-o", output, expect=1).stderr.decode().strip()
        # Not just anywhere: the case's name is part of the path.
        if not any(word in message for word in ("(multifd)", "multifd migration")) or output.exists():
            raise Failed(f"{connection.name} is not refused by name: {message!r}")
        print(message)


def require_equal_notes(actual: list[tuple[str, int, bytes]], expected: list[tuple[str, int, bytes]]):
    """Notes are the same in name, type, order and every byte."""
    if [note[:2] for note in actual] != [note[:2] for note in expected]:
        raise Failed(f"notes are {[note[:2] for note in actual]}, QEMU has {[note[:2] for note in expected]}")
    for (name, note_type, ours), (_, _, theirs) in zip(actual, expected):
        if ours != theirs:
            at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
            raise Failed(f"note {name} type {note_type:#x} ({len(ours)} bytes, QEMU's {len(theirs)}) differs at {at}")


def check_notes(context: Context):
    """Registers and VMCOREINFO in the vmcore are, byte for byte, those QEMU writes for the same state."""
    expected, actual = images.notes(context.capture / "ref.elf"), images.notes(context.convert("elf"))
    require_equal_notes(actual, expected)
    print(f"{len(actual)} notes equal: {', '.join(name for name, _, _ in actual)}")


def check_block_addresses(context: Context, addresses: dict[str, int]):
    """Blocks whose place the save does not tell: refused with the option named, converted when it is given."""
    refused = context.work / "refused.elf"
    message = context.run(context.save, "-o", refused, expect=1).stderr.decode()
    if "--block" not in message or not any(f'"{name}"' in message for name in addresses):
        raise Failed(f"the refusal names neither the block nor --block: {message!r}")
    if refused.exists():
        raise Failed("an output was left behind although the input was refused")
    options = [word for name, gpa in addresses.items() for word in ("--block", f"{name}={gpa:#x}")]
    check_outputs(replace(context, options=tuple(options)))


def _require_same_file(expected: Path, actual: Path):
    with expected.open("rb") as left, actual.open("rb") as right:
        while True:
            a, b = left.read(_CHUNK), right.read(_CHUNK)
            if a != b:
                raise Failed(f"{actual.name} differs from {expected.name} before offset {left.tell():#x}")
            if not a:
                return


def check_compressed_input(context: Context):
    """A save compressed by any tool libvirt knows converts to the same bytes as the plain save."""
    plain = context.convert("elf", name="plain")
    for tool in _COMPRESSORS:
        program = paths.program(tool)
        packed = context.work / f"save.{tool}"
        with context.save.open("rb") as source, packed.open("wb") as target:
            subprocess.run([program, "-c", *_FAST.get(tool, ())], stdin=source, stdout=target, check=True)
        _require_same_file(plain, context.convert("elf", source=packed, name=tool))
        packed.unlink()
        print(f"{tool}: same output as from the plain save")


def check_pipes(context: Context):
    """stdin as input and stdout as output give the same bytes as files."""
    from_file = context.convert("elf", name="file")
    from_stdin = context.work / "stdin.elf"
    with context.save.open("rb") as save:
        reader = subprocess.Popen([paths.program("cat")], stdin=save, stdout=subprocess.PIPE)
        context.run("-", "-o", from_stdin, stdin=reader.stdout)
        reader.stdout.close()
        reader.wait()
    _require_same_file(from_file, from_stdin)
    for name in FORMATS:
        to_file, to_stdout = context.convert(name), context.work / f"stdout.{name}"
        with to_stdout.open("wb") as output:
            writer = subprocess.Popen([paths.program("cat")], stdin=subprocess.PIPE, stdout=output)
            context.run(context.save, "-o", "-", "--to", name, stdout=writer.stdin)
            writer.stdin.close()
            writer.wait()
        _require_same_file(to_file, to_stdout)


def _equal_pages(reference: compare.Reference, output: images.Image) -> tuple[int, int]:
    """(non-zero pages of the output that equal the reference, non-zero pages that do not)."""
    equal = different = 0
    zero = bytes(images.PAGE)
    for region in reference.ram:
        # A salvaged raw image may end where the last salvaged page does.
        for gpa in range(region.begin, min(region.end, output.segments[0].end), images.PAGE):
            page = output.read(gpa, images.PAGE)
            if page == zero:
                continue
            if page == reference.image.read(gpa, images.PAGE):
                equal += 1
            else:
                different += 1
    return equal, different


def check_salvage(context: Context):
    """Half a save is refused without --salvage, and with it gives the pages before the cut."""
    whole = context.save.stat().st_size
    cut = context.work / "cut.qevm"
    with context.save.open("rb") as source, cut.open("wb") as target:
        for _ in range(0, whole // 2, _CHUNK):
            target.write(source.read(min(_CHUNK, whole // 2 - target.tell())))
    context.run(cut, "-o", context.work / "refused.raw", "--to", "raw", expect=1)
    if (context.work / "refused.raw").exists():
        raise Failed("an output was left behind although the input was refused")

    salvaged = context.work / "salvaged.raw"
    context.run(cut, "-o", salvaged, "--to", "raw", "--salvage", expect=_EXIT_SALVAGED)
    reference = compare.Reference(context.capture)
    with reference.image, images.open_raw(salvaged) as output:
        equal, different = _equal_pages(reference, output)
    if different:
        raise Failed(f"{different} salvaged pages differ from the guest's")
    # A stopped save sends each page once, so half of the file holds about half of the non-zero pages.
    expected = whole // 2 // images.PAGE * 9 // 10
    if equal < expected:
        raise Failed(f"only {equal} pages were salvaged, the first half holds more than {expected}")
    print(f"{equal} pages salvaged from half of the save")
