"""Too little room: on the output's file system, for temporary files, by limits of the process."""

import contextlib
import gzip
import os
import resource
import subprocess
import unittest

import streams
from harness import Case, is_sanitized, main, needs, needs_root


def _limit_file_size(size: int):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


class FullFileSystem(Case):
    @contextlib.contextmanager
    def tmpfs(self, size: str):
        """A file system of this size at the folder `small`."""
        place = self.folder / "small"
        place.mkdir(exist_ok=True)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "vmconvert-test", place], capture_output=True
        )
        if mounted.returncode != 0:
            self.skipTest("mount is not permitted here: " + os.fsdecode(mounted.stderr.strip()))
        try:
            yield place
        finally:
            subprocess.run(["umount", "--lazy", place], check=True)

    @needs_root
    @needs("mount")
    def test_output_is_refused_before_anything_is_copied(self):
        self.write("in.qevm", streams.dense(4 << 20).bytes)
        with self.tmpfs("1m"):
            for kind in ("elf", "raw", "lime"):
                self.refuse(
                    f"small/out.{kind}: not enough room: 4* MiB needed, 1 MiB free",
                    *["in.qevm", "-o", f"small/out.{kind}"],
                )

    @needs_root
    @needs("mount")
    def test_zeros_need_room_only_if_they_are_written(self):
        self.write("in.qevm", streams.sparse(64 << 20).bytes)
        with self.tmpfs("1m"):
            self.refuse(
                "small/out.raw: not enough room: 64 MiB needed, 1 MiB free",
                *["in.qevm", "--no-sparse", "-o", "small/out.raw"],
            )
            self.convert("in.qevm", "-o", "small/out.raw")
            self.assertEqual((self.folder / "small/out.raw").stat().st_size, 64 << 20)

    @needs_root
    @needs("mount")
    def test_temporary_folder(self):
        stream = streams.dense(4 << 20)
        self.write("in.gz", gzip.compress(stream.bytes, 0))
        with self.tmpfs("1m") as place:
            environment = self.environment(TMPDIR=str(place))
            message = f"{place}: temporary file (set TMPDIR to a larger place): No space left on device"
            self.refuse(message, "in.gz", "-o", "out.raw", env=environment)
            self.refuse(message, "-", "-o", "out.raw", env=environment, input=stream.bytes)
            self.assertEqual(os.listdir(place), [])

    @needs("strace")
    def test_while_copying(self):
        """Somebody else took the room after it was checked."""
        self.write("in.qevm", streams.dense(20 << 20).bytes)
        for threads in ("1", "2"):
            for call, message in {
                "pwritev:error=ENOSPC:when=3+": "out.raw: offset 0x*: write: No space left on device",
                "pwritev:error=EDQUOT:when=2": "out.raw: offset 0x*: write: Disk quota exceeded",
                "pwritev:error=EIO:when=1+": "out.raw: offset 0x*: write: Input/output error",
                "ftruncate:error=EFBIG": "out.raw: offset 0x1400000: set file size: File too large",
                "renameat2:error=EIO": "out.raw: rename: Input/output error",
            }.items():
                with self.subTest(call=call, threads=threads):
                    args = ["in.qevm", "-o", "out.raw", "--threads", threads]
                    self.refuse(message, *args, **self.tracing("-e", f"inject={call}"))

    @needs("strace")
    def test_file_system_that_cannot_rename_without_replacing(self):
        stream = self.small()
        no_link = ["-e", "inject=link,linkat:error=EPERM"]
        for number, options in enumerate(
            [
                ["-e", "inject=renameat2:error=EINVAL"],
                ["-e", "inject=renameat2:error=ENOSYS"],
                ["-e", "inject=renameat2:error=EINVAL", *no_link],
            ]
        ):
            self.convert("in.qevm", "-o", f"{number}.raw", **self.tracing(*options))
            self.assertRaw(f"{number}.raw", stream)
        self.assertEqual(self.names(), {"in.qevm", "0.raw", "1.raw", "2.raw"})


class Limits(Case):
    def test_file_size(self):
        """The limit's signal must not kill the program, which would leave the temporary file."""
        self.small()
        self.refuse(
            "out.raw: offset 0x200000: set file size: File too large",
            *["in.qevm", "-o", "out.raw"],
            preexec_fn=_limit_file_size(1 << 20),
        )

    def test_file_size_of_standard_output(self):
        self.small()
        with open(self.top / "out", "wb") as out:
            self.refuse(
                "standard output: offset 0x100000: write: File too large",
                *["in.qevm", "--to", "raw", "-o", "-"],
                stdout=out,
                preexec_fn=_limit_file_size(1 << 20),
            )

    def test_file_size_of_temporary_files(self):
        self.refuse(
            f"{self.temporary}: temporary file (set TMPDIR to a larger place): File too large",
            *["-", "-o", "out.raw"],
            input=streams.dense(4 << 20).bytes,
            preexec_fn=_limit_file_size(1 << 20),
        )

    def test_a_guest_larger_than_any_file(self):
        stream = streams.Stream(512 << 30, {0: streams.page(1)})
        self.write("in.qevm", stream.bytes)
        self.refuse(
            "out.raw: offset 0x*: set file size: File too large",
            *["in.qevm", "-o", "out.raw"],
            preexec_fn=_limit_file_size(1 << 30),
        )

    @unittest.skipIf(is_sanitized(), "needs a build without sanitizers")
    def test_descriptors(self):
        self.small()
        for most in range(3, 8):
            limit = lambda most=most: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            result = self.run_tool("in.qevm", "-f", "-o", "out.raw", preexec_fn=limit, code=None)
            self.assertIn(result.code, (0, 1, 127))  # 127: not even its libraries could be opened
            self.assertEqual(self.names() - {"out.raw"}, {"in.qevm"})

    def require(self, result, code):
        return super().require(result, result.code if code is None else code)

    def test_threads(self):
        """Those that can be had do the work."""
        nobody = self.nobody()
        stream = streams.dense(20 << 20)
        self.write("in.qevm", stream.bytes)
        self.folder.chmod(0o777)
        for most in range(1, 5):
            limit = lambda most=most: resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
            args = ["in.qevm", "-f", "-o", "out.raw", "--threads", "64"]
            environment = self.environment(ASAN_OPTIONS="detect_leaks=0")  # that needs a thread of its own
            result = self.run_tool(*args, preexec_fn=limit, code=None, env=environment, **nobody)
            if result.code == 0:
                self.assertRaw("out.raw", stream)
            else:
                self.assertRegex(result.err, rb"\Avmconvert: [^\n]+\n\Z")
            self.assertEqual(self.names() - {"out.raw"}, {"in.qevm"})


class TemporaryFolder(Case):
    def setUp(self):
        super().setUp()
        self.stream = streams.small()
        self.write("in.gz", gzip.compress(self.stream.bytes))

    def test_missing(self):
        environment = self.environment(TMPDIR="no/such")
        message = "no/such: temporary file: No such file or directory"
        self.refuse(message, "in.gz", "-o", "out.raw", env=environment)
        self.refuse(message, "-", "-o", "out.raw", env=environment, input=b"x")

    def test_a_file(self):
        environment = self.environment(TMPDIR="in.gz")
        self.refuse("in.gz: temporary file: Not a directory", "in.gz", "-o", "out.raw", env=environment)

    def test_not_writable(self):
        nobody = self.nobody()
        self.folder.chmod(0o555)
        environment = self.environment(TMPDIR=str(self.folder))
        result = self.run_tool("in.gz", "--to", "raw", "-o", "-", env=environment, code=1, **nobody)
        self.assertEqual(
            result.err, os.fsencode(f"vmconvert: {self.folder}: temporary file: Permission denied\n")
        )

    def test_unset_or_empty(self):
        for value in (None, ""):
            self.convert("in.gz", "-f", "-o", "out.raw", env=self.environment(TMPDIR=value))
            self.assertRaw("out.raw", self.stream)

    def test_is_not_needed_for_a_plain_file(self):
        self.write("in.qevm", self.stream.bytes)
        self.convert("in.qevm", "-o", "out.raw", env=self.environment(TMPDIR="/no/such"))
        self.assertRaw("out.raw", self.stream)

    @needs("strace")
    def test_without_nameless_files(self):
        """Not every file system knows O_TMPFILE."""
        trace = self.tracing("-P", self.temporary, "-e", "inject=openat:error=EOPNOTSUPP")
        self.convert("in.gz", "-o", "out.raw", **trace)
        self.assertRaw("out.raw", self.stream)


if __name__ == "__main__":
    main()
