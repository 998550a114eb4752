"""Checks of qcow2 images with saved machine states: each state equals QEMU's dump of that moment."""

import re
from pathlib import Path

import compare
from context import Context, Failed
from lab.snapshots import AFTER, BEFORE, Image

_USAGE = 2


def _require_message(message: str, *parts: str):
    for part in parts:
        if part not in message:
            raise Failed(f"the message lacks {part!r}: {message!r}")


def _refused(context: Context, image: Path, *options: str, code: int = 1) -> str:
    output = context.work / "refused.elf"
    message = context.run(image, "-o", output, *options, expect=code).stderr.decode()
    if output.exists():
        raise Failed(f"{image.name}: an output was left behind although the input was refused")
    return message


def _convert(context: Context, image: Path, chosen: str, output_format: str = "elf") -> Path:
    output = context.work / f"{image.stem}-{chosen}.{output_format}"
    context.run(image, "-o", output, "--snapshot", chosen)
    return output


def _require_equal_files(left: Path, right: Path):
    if left.read_bytes() != right.read_bytes():
        raise Failed(f"{left.name} and {right.name} differ")


def _check_image(context: Context, image: Path, references: dict[str, compare.Reference]):
    listed = _refused(context, image, code=_USAGE)
    _require_message(listed, "holds 2 saved states; choose one with --snapshot ID or NAME", '1 "before"', '2 "after"')
    if not re.search(r"\(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ, [\d.]+ MiB\)", listed):
        raise Failed(f"the list has neither date nor size: {listed!r}")
    for identity, (name, reference) in enumerate(references.items(), start=1):
        output = _convert(context, image, name)
        compare.compare_outputs(reference, output, None, None)
        by_id = _convert(context, image, str(identity))
        _require_equal_files(output, by_id)
        output.unlink()
        by_id.unlink()
    print(f"{image.name}: both states equal QEMU's dumps")


def _require_different(references: dict[str, compare.Reference], context: Context):
    """Two dumps of the same memory would prove nothing about the choice of the snapshot."""
    dumps = [(context.capture / name / "ref.elf").read_bytes() for name in references]
    if dumps[0] == dumps[1]:
        raise Failed("the guest did not change between the snapshots: the capture proves nothing")


def _check_refusals(context: Context):
    capture = context.capture
    _require_message(_refused(context, capture / "external.qcow2"), "external data file")
    _require_message(_refused(context, capture / "disk.qcow2"), "holds no saved machine state; it is a disk image")
    message = _refused(context, capture / "disk.qcow2", "--snapshot", "nothing", code=_USAGE)
    _require_message(message, '1 "nothing" is of the disk alone')
    _require_message(_refused(context, capture / "luks.qcow2"), "is encrypted (LUKS)")


def check_images(context: Context, images: tuple[Image, ...]):
    """Every image gives both states; what holds none, or none that can be read, says so."""
    references = {name: compare.Reference(context.capture / name) for name in (BEFORE, AFTER)}
    _require_different(references, context)
    with references[BEFORE].image, references[AFTER].image:
        for image in images:
            _check_image(context, image.file(context.capture), references)
    _check_refusals(context)
