"""Checks that dumps, QEMU's and our own, convert to every output and to the same one."""

import subprocess
from pathlib import Path

import compare
import images
from context import FORMATS, Context, Failed
from lab import paths
from lab.dumps import WINDOW

_CHUNK = 1 << 20


def _require_same(expected: Path, actual: Path):
    """Same size and bytes; what is a hole in both files is not read: a raw image can have a GiB of it."""
    if expected.stat().st_size != actual.stat().st_size:
        raise Failed(f"{actual.name} has {actual.stat().st_size} bytes, {expected.name} {expected.stat().st_size}")
    with images.open_raw(expected) as left, images.open_raw(actual) as right:
        end = left.segments[0].end
        for first, last in compare.unite(left.data_ranges(0, end), right.data_ranges(0, end)):
            for at in range(first, last, _CHUNK):
                size = min(_CHUNK, last - at)
                if left.read(at, size) != right.read(at, size):
                    raise Failed(f"{actual.name} differs from {expected.name} in {at:#x}+{size:#x}")


def _same_outputs(context: Context, expected: dict[str, Path], source: Path, formats=FORMATS):
    for name in formats:
        _require_same(expected[name], context.convert(name, source=source, name="again"))
        (context.work / f"again.{name}").unlink()
    print(f"{source.name}: same {', '.join(formats)}")


def _reference_outputs(context: Context) -> dict[str, Path]:
    """ref.elf in every format; everything QEMU dumped is in them, RAM, ROM and video memory."""
    reference = context.capture / "ref.elf"
    outputs = {name: context.convert(name, source=reference, name="ref") for name in FORMATS}
    with images.open_reference(reference) as dump:
        end = max(segment.end for segment in dump.segments)
        if outputs["raw"].stat().st_size != end:
            raise Failed(f"the raw image does not end at {end:#x}")
        for name, opener in (("elf", images.open_reference), ("raw", images.open_raw), ("lime", images.open_lime)):
            with opener(outputs[name]) as output:
                if name != "raw" and compare.unite(output.ranges()) != compare.unite(dump.ranges()):
                    raise Failed(f"{name}: holds {output.ranges()}, QEMU dumped {dump.ranges()}")
                _require_held(dump, output)
    if images.notes(outputs["elf"]) != images.notes(reference):
        raise Failed("the notes are not those of QEMU's dump")
    return outputs


def _require_held(dump: images.Image, output: images.Image):
    for segment in dump.segments:
        for gpa in range(segment.gpa, segment.end, _CHUNK):
            size = min(_CHUNK, segment.end - gpa)
            if dump.read(gpa, size) != output.read(gpa, size):
                raise compare.Different(f"{output.path.name}: differs from QEMU's dump in {gpa:#x}+{size:#x}")


def _require_part(context: Context, outputs: dict[str, Path], source: Path) -> list[tuple[int, int]]:
    """Converts a dump of a part of memory; its ranges, all of which hold what the whole dump holds."""
    part = context.convert("elf", source=source, name="part")
    with images.open_reference(part) as output, images.open_raw(outputs["raw"]) as whole:
        for segment in output.segments:
            for gpa in range(segment.gpa, segment.end, _CHUNK):
                size = min(_CHUNK, segment.end - gpa)
                if output.read(gpa, size) != whole.read(gpa, size):
                    raise compare.Different(f"{source.name}: differs in {gpa:#x}+{size:#x}")
        ranges = compare.unite(output.ranges())
    part.unlink()
    return ranges


def check_chain(context: Context, outputs: dict[str, Path]):
    """Our own outputs convert to each other."""
    _same_outputs(context, outputs, outputs["elf"])
    _same_outputs(context, outputs, outputs["lime"], ("raw", "lime"))  # LiME has no notes
    again = context.work / "again.raw"
    context.run(outputs["raw"], "--from", "raw", "-o", again)
    _require_same(outputs["raw"], again)


def check_dumps(context: Context):
    """Every dump of one stopped guest becomes the same outputs."""
    outputs = _reference_outputs(context)
    dumps = sorted(context.capture.glob("*.kdump"))
    if not dumps:
        raise Failed("QEMU wrote no kdump-compressed dump")
    for dump in dumps:
        _same_outputs(context, outputs, dump)
    check_chain(context, outputs)


def check_pc_dumps(context: Context):
    """The same, and the dumps only PCs are asked for: by virtual address, and through a window."""
    check_dumps(context)
    outputs = {"raw": context.work / "ref.raw"}
    with images.open_reference(context.capture / "ref.elf") as dump:
        whole = dump.ranges()
    window = (WINDOW[0], WINDOW[0] + WINDOW[1])
    ranges = _require_part(context, outputs, context.capture / "window.elf")
    if ranges != compare.unite(compare.intersect(whole, [window])):
        raise Failed(f"window.elf: {ranges} is not the window")
    ranges = _require_part(context, outputs, context.capture / "paging.elf")
    held, ram = (sum(end - begin for begin, end in r) for r in (ranges, compare.intersect(whole, [(0, 0xF0000000)])))
    # The guest's page tables map all but the last of its memory, where the firmware's tables lie.
    if held < ram - (1 << 20):
        raise Failed(f"paging.elf: only {held:#x} of {ram:#x} bytes")
    print(f"window.elf and paging.elf: equal where they hold memory; paging.elf holds {held >> 20} MiB")


def _filtered(context: Context, outputs: dict[str, Path], flags: tuple[str, ...], name: str) -> Path:
    target = context.work / name
    target.unlink(missing_ok=True)
    command = [paths.program("makedumpfile"), *flags, str(outputs["elf"])]
    if "-F" in flags:
        with target.open("wb") as output:
            result = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, check=False)
    else:
        result = subprocess.run([*command, str(target)], capture_output=True, check=False)
    if result.returncode != 0:
        raise Failed(f"{' '.join(command)}: {result.stderr.decode(errors='replace')[-400:]}")
    return target


def check_makedumpfile(context: Context):
    """What makedumpfile makes of our vmcore, at every level of its filter, is read back."""
    outputs = _reference_outputs(context)
    with images.open_raw(outputs["raw"]) as whole:
        end = whole.segments[0].end
    for flags in ("-c -d 0", "-c -d 1", "-l -d 1", "-l -d 31", "-c -d 31", "-F -l -d 31", "-E -d 31"):
        dump = _filtered(context, outputs, tuple(flags.split()), "filtered")
        held = sum(high - low for low, high in _require_part(context, outputs, dump))
        print(f"makedumpfile {flags}: {held >> 20} MiB equal")
        if "31" in flags and not 0 < held < end:
            raise Failed(f"makedumpfile {flags}: nothing was filtered")
        warned = context.run(dump, "-f", "-o", context.work / "filtered.lime").stderr.decode()
        if ("31" in flags) != ("warning" in warned):
            raise Failed(f"makedumpfile {flags}: said {warned!r}")
