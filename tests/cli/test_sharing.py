"""On file systems that can, the output shares the storage of guest memory with the input."""

import contextlib
import os
import re
import subprocess

import streams
from harness import Case, main, needs, needs_root

_MIB = 1 << 20


class Sharing(Case):
    @contextlib.contextmanager
    def btrfs(self, mib: int):
        """A btrfs of this size at the folder `small`."""
        place, image = self.folder / "small", self.top / "image"
        place.mkdir()
        with image.open("wb") as file:
            file.truncate(mib * _MIB)
        subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
        mounted = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True)
        if mounted.returncode != 0:
            self.skipTest("mounting btrfs is not permitted here: " + os.fsdecode(mounted.stderr.strip()))
        try:
            yield place
        finally:
            subprocess.run(["umount", "--lazy", place], check=True)

    def shared(self, path) -> int:
        """Bytes of a file whose storage other files use, too."""
        shown = subprocess.run(["filefrag", "-v", path], check=True, capture_output=True, text=True).stdout
        extents = re.findall(r"(?m)^\s*\d+:.*?:\s*\d+\.\.\s*\d+:\s*(\d+):.*shared", shown)
        return sum(map(int, extents)) * 4096

    @needs_root
    @needs("mount", "mkfs.btrfs", "filefrag")
    def test_memory_that_would_not_fit_twice(self):
        memory = os.urandom(130 * _MIB + 4096)
        with self.btrfs(256) as place:
            (place / "vm.vmem").write_bytes(memory)
            os.sync()
            for kind, head in (("raw", 0), ("elf", None)):
                output = place / f"out.{kind}"
                self.convert("small/vm.vmem", "--from", "raw", "--arch", "x86_64", "-o", f"small/out.{kind}",
                             "--no-scan")
                os.sync()
                content = output.read_bytes()
                at = len(content) - len(memory) if head is None else head
                self.assertEqual(content[at:] == memory, True, "wrong content")
                self.assertGreaterEqual(self.shared(output), 130 * _MIB)
            # Storage of its own when zeros have to be written, or where places do not fit.
            self.convert("small/vm.vmem", "--from", "raw", "--arch", "x86_64", "-o", "own.raw", "--no-sparse")
            self.assertEqual((self.folder / "own.raw").read_bytes() == memory, True, "wrong content")
            lime = self.run_tool("small/vm.vmem", "--from", "raw", "--arch", "x86_64", "-o", "small/out.lime", code=1)
            self.assertRegex(lime.err, rb"not enough room: 130(\.\d)? MiB needed, [\d.]+ MiB free")
            self.assertFalse((place / "out.lime").exists())

    @needs_root
    @needs("mount", "mkfs.btrfs")
    def test_another_file_system(self):
        stream = streams.dense(4 * _MIB)
        self.write("in.qevm", stream.bytes)
        with self.btrfs(256):
            self.convert("in.qevm", "-o", "small/out.raw")
            self.assertRaw("small/out.raw", stream)


if __name__ == "__main__":
    main()
