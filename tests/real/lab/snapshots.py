"""Saves two states of one guest into qcow2 images of every layout, with QEMU's own snapshot commands.

Files of a capture directory:
  NAME.qcow2            images, each with a snapshot "before" and a snapshot "after" of the machine
  before, after         what the guest's memory was: ref.elf, mtree.txt, as in lab/capture.py
  luks.qcow2, external.qcow2, disk.qcow2   images that are to be refused
"""

import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

from . import paths
from .capture import CaptureFailed, dump_reference
from .guest import Guest, Machine
from .qmp import Qmp

BEFORE, AFTER = "before", "after"
_DISK = "40M"
_GROWN = 3 << 30      # beyond what the snapshot's L1 table maps of the disk, whatever the cluster size
_RUN_SECONDS = 0.7    # between the two states
_JOB_SECONDS = 120


@dataclass(frozen=True)
class Image:
    """One disk of the guest, in the terms of `qemu-img create -o`."""

    name: str
    options: str = ""
    backing: bool = False
    resized: bool = False  # between the two snapshots

    def file(self, directory: Path) -> Path:
        return directory / f"{self.name}.qcow2"

    def create(self, directory: Path):
        options = [f"compat={'1.1' if 'compat' not in self.options else '0.10'}"]
        options += [word for word in self.options.split(",") if word and not word.startswith("compat")]
        arguments: list[str] = []
        if self.backing:
            base = directory / "base.raw"
            base.write_bytes(b"\xaa" * (1 << 20))
            arguments += ["-b", str(base), "-F", "raw"]
        _qemu_img("create", "-f", "qcow2", "-o", ",".join(options), *arguments, str(self.file(directory)), _DISK)

    def drive(self, directory: Path) -> list[str]:
        # Attached to no device: snapshots are the block layer's business.
        return ["-drive", f"if=none,format=qcow2,node-name={self.name},file={self.file(directory)}"]


PLAIN = Image("plain")
# Names begin with a letter, as node names have to.
LAYOUTS = (
    PLAIN,
    Image("v2", "compat=0.10"),
    Image("c512", "cluster_size=512"),
    Image("c4k", "cluster_size=4k"),
    Image("c2m", "cluster_size=2M"),
    Image("extended", "extended_l2=on,cluster_size=128k"),
    Image("zstd", "compression_type=zstd"),
    Image("backed", backing=True),
    Image("resized", "cluster_size=4k", resized=True),
    Image("grown", resized=True),
)


def _qemu_img(*arguments: str):
    result = subprocess.run([paths.program("qemu-img"), *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise CaptureFailed(f"qemu-img {arguments[0]}: {result.stderr.strip()}")


def _save(qmp: Qmp, image: Image, tag: str):
    job = f"{tag}-{image.name}"
    qmp.execute("snapshot-save", **{"job-id": job, "tag": tag, "vmstate": image.name, "devices": [image.name]})
    deadline = time.monotonic() + _JOB_SECONDS
    while True:
        state = next(found for found in qmp.execute("query-jobs") if found["id"] == job)
        if state["status"] == "concluded":
            break
        if time.monotonic() > deadline:
            raise CaptureFailed(f"snapshot-save into {image.name} does not end")
        time.sleep(0.02)
    qmp.execute("job-dismiss", id=job)
    if "error" in state:
        raise CaptureFailed(f"snapshot-save into {image.name}: {state['error']}")


def _save_all(qmp: Qmp, images: tuple[Image, ...], tag: str, directory: Path):
    qmp.execute("stop")
    (directory / tag).mkdir()
    dump_reference(qmp, directory / tag)
    for image in images:
        _save(qmp, image, tag)


def _create_encrypted(path: Path):
    """An image with LUKS. No state is saved into it: QEMU 7.2 fails an assertion over that."""
    for attempt in range(20):
        try:
            _qemu_img("create", "--object", "secret,id=key,data=mellon", "-f", "qcow2",
                      "-o", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10", str(path), _DISK)
            return
        except CaptureFailed as error:
            # On a loaded machine qemu-img may find that it used no CPU time, and gives up.
            if "accurate CPU usage" not in str(error) or attempt == 19:
                raise


def _create_refused(directory: Path):
    """Images no state can be taken from, and a disk without any."""
    data = directory / "external.raw"
    _qemu_img("create", "-f", "qcow2", "-o", f"data_file={data}", str(directory / "external.qcow2"), _DISK)
    _create_encrypted(directory / "luks.qcow2")
    _qemu_img("create", "-f", "qcow2", str(directory / "disk.qcow2"), _DISK)
    _qemu_img("snapshot", "-c", "nothing", str(directory / "disk.qcow2"))


def capture(machine: Machine, images: tuple[Image, ...], directory: Path) -> Path:
    """Saves two states of the machine into each image."""
    directory.mkdir(parents=True, exist_ok=True)
    extra = [*machine.extra]
    for image in images:
        image.create(directory)
        extra += image.drive(directory)
    with Guest(replace(machine, extra=tuple(extra)), directory, dirty=True) as guest:
        _save_all(guest.qmp, images, BEFORE, directory)
        for image in images:
            if image.resized:
                guest.qmp.execute("block_resize", **{"node-name": image.name, "size": _GROWN})
        guest.qmp.execute("cont")
        time.sleep(_RUN_SECONDS)
        _save_all(guest.qmp, images, AFTER, directory)
    _create_refused(directory)
    for leftover in (*directory.glob("blob*"), directory / "initramfs.cpio", directory / "qmp"):
        leftover.unlink(missing_ok=True)
    return directory
