"""Checks of what vmconvert makes of cores of the QEMU process."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import compare
import images
from context import FORMATS, Context, Failed
from lab import paths, process_core

_EXIT_SALVAGED = 3
_EXIT_USAGE = 2


class _AnyOrderReference(compare.Reference):
    """QEMU's dump of a guest of either byte order."""

    def __init__(self, capture: Path):
        path = capture / "ref.elf"
        with path.open("rb") as file:
            ident = file.read(16)
            order = ">" if ident[5] == 2 else "<"
            header = struct.unpack(order + "HHIQQQIHHHHHH", file.read(48))
            file.seek(header[4])
            loads = [struct.unpack(order + "IIQQQQQQ", file.read(56)) for _ in range(header[9])]
        segments = [images.Segment(gpa=entry[4], size=entry[5], offset=entry[2]) for entry in loads if entry[0] == 1]
        self.image = images.Image(path, segments)
        dumped = self.image.ranges()
        self.regions = [compare.Region(begin, end, region.name)
                        for region in compare.flat_memory_map((capture / "mtree.txt").read_text())
                        for begin, end in compare.intersect([(region.begin, region.end)], dumped)]


def _cores(context: Context) -> list[Path]:
    cores = sorted(context.capture.glob("*.core"))
    if not cores:
        raise Failed("the capture holds no core")
    return cores


def check_outputs(context: Context):
    """ELF, raw and LiME from the first core and ELF from the others hold the guest's memory, and VMCOREINFO is what QEMU's dump has."""
    reference = compare.Reference(context.capture)
    notes = [note for note in images.notes(context.capture / "ref.elf") if note[0] == "VMCOREINFO"]
    with reference.image:
        for number, core in enumerate(_cores(context)):
            formats = FORMATS if number == 0 else ("elf",)
            outputs = dict.fromkeys(FORMATS)
            outputs.update((name, context.convert(name, source=core, name=core.stem)) for name in formats)
            for line in compare.compare_outputs(reference, **outputs):
                print(line)
            found = [note for note in images.notes(outputs["elf"]) if note[0] == "VMCOREINFO"]
            if found != notes:
                raise Failed(f"{core.name}: VMCOREINFO is not that of QEMU's dump")


def check_linux(context: Context, executable: Path):
    """As check_outputs; and symbols of the executable, a compressed core and a search give the same."""
    check_outputs(context)
    core = _cores(context)[0]
    searched = (context.work / f"{core.stem}.elf").read_bytes()
    if not [note for note in images.notes(context.work / f"{core.stem}.elf") if note[0] == "VMCOREINFO"]:
        raise Failed("there is no VMCOREINFO, so nothing was proven about it")
    output = context.work / "symbols.elf"
    told = context.run(core, "-v", "-o", output, "--executable", executable).stderr.decode()
    if f"from symbols of {executable}" not in told:
        raise Failed(f"the symbols were not used: {told}")
    if output.read_bytes() != searched:
        raise Failed("symbols and search lead to different memory")
    packed = context.work / "packed.core"  # as systemd-coredump stores it
    subprocess.run([paths.program("zstd"), "-q", "-1", core, "-o", packed], check=True)
    if context.convert("elf", source=packed, name="packed").read_bytes() != searched:
        raise Failed("the compressed core leads to different memory")


def check_raw(context: Context):
    """A guest of any architecture: the raw image is the guest's memory."""
    reference = _AnyOrderReference(context.capture)
    with reference.image:
        for core in _cores(context):
            with images.open_raw(context.convert("raw", source=core, name=core.stem)) as output:
                print(core.name, "left out:", compare.compare_raw(reference, output) or "nothing")


def check_refused(context: Context, text: str):
    """Each core is refused with this reason, and nothing is left behind."""
    for core in _cores(context):
        output = context.work / "refused.elf"
        message = context.run(core, "-o", output, expect=1).stderr.decode()
        if text not in message:
            raise Failed(f"{core.name}: refused with {message!r}, not with {text!r}")
        if output.exists():
            raise Failed("an output was left behind although the input was refused")
        print(message.strip())


def check_cut_off(context: Context):
    """A core cut in the middle of the guest's memory is refused, and --salvage gives the rest, page for page."""
    reference = compare.Reference(context.capture)
    core = context.capture / "kernel.core"
    cut = context.work / "cut.core"
    shutil.copy(core, cut)
    os.truncate(cut, core.stat().st_size * 2 // 5 + 123)
    context.run(cut, "-o", context.work / "refused.elf", expect=1)
    output = context.work / "salvaged.elf"
    told = context.run(cut, "-o", output, "--salvage", expect=_EXIT_SALVAGED).stderr.decode()
    if "no content for" not in told:
        raise Failed(f"the losses were not listed: {told}")
    equal = 0
    with reference.image, images.open_vmcore(output) as image:
        for begin, end in image.ranges():
            for gpa in range(begin, end, images.PAGE):
                if image.read(gpa, images.PAGE) != reference.image.read(gpa, images.PAGE):
                    raise Failed(f"salvaged page at {gpa:#x} differs from the guest's")
                equal += 1
    print(f"{equal} pages salvaged")


def check_debug_file(context: Context):
    """Debug information leads to the memory of a program whose structures no QEMU ever had."""
    core = context.capture / "gcore.core"
    program = context.capture / "qemu-system-s390x"
    expected = (context.capture / "guest.raw").read_bytes()
    message = context.run(core, "-o", context.work / "refused.raw", expect=1).stderr.decode()
    if "no address space" not in message:
        raise Failed(f"without debug information: {message!r}")
    for kind in ("unstripped", "debug"):
        output = context.work / f"{kind}.raw"
        source = program if kind == "unstripped" else context.capture / "program.debug"
        told = context.run(core, "-v", "-o", output, "--debug-file", source).stderr.decode()
        if output.read_bytes() != expected:
            raise Failed(f"{kind}: the memory differs: {told}")
        if "VMCOREINFO of 15 bytes" not in told:
            raise Failed(f"{kind}: no VMCOREINFO: {told}")
    other = context.capture / "other"
    message = context.run(core, "-o", context.work / "other.raw", "--debug-file", other, expect=_EXIT_USAGE)
    if b"build ID" not in message.stderr:
        raise Failed(f"another build: {message.stderr!r}")
    print(f"{len(expected)} bytes equal")


def capture_debug_program(directory: Path):
    """Compiles tests/real/lab/debug_program.c, which has QEMU's structures by name but not by layout, and takes
    a core of it; what it holds as the guest's memory is guest.raw."""
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    program = directory / "qemu-system-s390x"
    source = Path(process_core.__file__).with_name("debug_program.c")
    command = [paths.program("cc"), "-g", "-O1", "-o", program, source, "-Wl,--build-id"]
    subprocess.run(command, check=True)
    subprocess.run([*command[:-3], directory / "other", source, "-Wl,--build-id", "-DOTHER"], check=True)
    for option in ("--only-keep-debug", "--strip-unneeded"):
        target = directory / ("program.debug" if option == "--only-keep-debug" else "stripped")
        subprocess.run([paths.program("objcopy"), option, program, target], check=True)
    with subprocess.Popen([program, directory / "guest.raw"], stdout=subprocess.PIPE) as running:
        running.stdout.read(1)  # it is ready
        process_core.gcore(running.pid, directory / "gcore.core")
        running.kill()
