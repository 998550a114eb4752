"""Checks that the screen extracted from a save is, pixel by pixel, QEMU's own screendump."""

from pathlib import Path

from context import Context, Failed
from lab.paths import Missing
from lab.screens import TEXT

_LARGEST_CELL = (16, 32)


def _difference(ours: Path, theirs: Path) -> tuple[tuple[int, int], tuple[int, int, int, int] | None]:
    """The size of the picture, and the box in which it differs."""
    try:
        from PIL import Image, ImageChops
    except ImportError as error:
        raise Missing("python3-pil") from error
    pictures = [Image.open(path).convert("RGB") for path in (ours, theirs)]
    if pictures[0].size != pictures[1].size:
        raise Failed(f"{ours.stem}: {pictures[0].size} pixels, QEMU has {pictures[1].size}")
    if pictures[1].getcolors(1) is not None:
        raise Failed(f"{ours.stem}: the picture is of one colour and proves nothing")
    return pictures[0].size, ImageChops.difference(*pictures).getbbox()


def _check_picture(context: Context, save: Path):
    ours = context.work / f"{save.stem}.png"
    context.run("extract", save, "--screenshot", ours)
    size, box = _difference(ours, save.with_suffix(".png"))
    ours.unlink()
    if box is not None:
        # The state does not tell whether the blinking cursor was visible.
        in_cell = box[2] - box[0] <= _LARGEST_CELL[0] and box[3] - box[1] <= _LARGEST_CELL[1]
        if not (in_cell and (save.stem in TEXT or save.stem == "screen")):
            raise Failed(f"{save.stem}: differs from QEMU's screendump within {box}")
    print(f"{save.stem}: {size[0]}x{size[1]} equal" + ("" if box is None else f" but for the cursor at {box}"))


def check_pictures(context: Context):
    saves = sorted(context.capture.glob("*.qevm"))
    if not saves:
        raise Failed("the capture holds no save")
    for save in saves:
        _check_picture(context, save)
