"""What may become the output, what it looks like, and that failures leave nothing."""

import os
import socket
import stat

import streams
from harness import FAILED, USAGE, Case, main, needs_root

EXISTS = "out.raw: exists already (use --force to replace it)"
ITSELF = ": is the input itself"


class Existing(Case):
    def test_without_force(self):
        self.small()
        self.write("out.raw", b"precious")
        self.refuse(EXISTS, "in.qevm", "-o", "out.raw", code=USAGE)

    def test_is_refused_before_the_input_is_looked_at(self):
        self.write("out.raw", b"precious")
        self.refuse(EXISTS, "no-such-input", "-o", "out.raw", code=USAGE)

    def test_with_force(self):
        stream = self.small()
        for content in (b"", b"short", bytes(5 << 20)):
            self.write("out.raw", content)
            self.convert("in.qevm", "-o", "out.raw", "--force")
            self.assertRaw("out.raw", stream)

    def test_survives_a_failure_with_force(self):
        self.write("in.qevm", streams.small().bytes[:-200])
        self.write("out.raw", b"precious")
        self.refuse("in.qevm: *", "in.qevm", "-o", "out.raw", "-f")

    def test_read_only_with_force(self):
        stream = self.small()
        self.write("out.raw", b"old").chmod(0o400)
        self.convert("in.qevm", "-o", "out.raw", "-f")
        self.assertRaw("out.raw", stream)

    def test_two_at_once(self):
        """One of them makes it, the other says why not."""
        stream = streams.dense(4 << 20)
        self.write("in.qevm", stream.bytes)
        both = [self.start("in.qevm", "-o", "out.raw") for _ in range(2)]
        ends = sorted((process.communicate()[1], process.returncode) for process in both)
        self.assertEqual(ends, [(b"", 0), (f"vmconvert: {EXISTS}\n".encode(), USAGE)])
        self.assertRaw("out.raw", stream)
        self.assertEqual(self.names(), {"in.qevm", "out.raw"})

    def test_a_name_that_appears_meanwhile_is_not_replaced(self):
        os.mkfifo(self.folder / "in.fifo")
        process = self.start("in.fifo", "-o", "out.raw")
        with open(self.folder / "in.fifo", "wb") as fifo:
            stream = streams.small()
            fifo.write(stream.bytes[:10000])
            self.write("out.raw", b"precious")
            fifo.write(stream.bytes[10000:])
        self.assertEqual(process.communicate()[1], b"vmconvert: " + EXISTS.encode() + b"\n")
        self.assertEqual(process.returncode, USAGE)
        self.assertEqual((self.folder / "out.raw").read_bytes(), b"precious")
        self.assertEqual(self.names(), {"in.fifo", "out.raw"})


class Links(Case):
    def setUp(self):
        super().setUp()
        self.stream = self.small()

    def test_symbolic_link_to_a_file(self):
        (self.folder / "sub").mkdir()
        self.write("sub/file", b"old")
        os.symlink("sub/file", self.folder / "out.raw")
        self.refuse(EXISTS, "in.qevm", "-o", "out.raw", code=USAGE)
        self.convert("in.qevm", "-o", "out.raw", "-f")
        self.assertTrue((self.folder / "out.raw").is_symlink())
        self.assertRaw("sub/file", self.stream)
        self.assertEqual(os.listdir(self.folder / "sub"), ["file"])

    def test_dangling_symbolic_link_is_refused_before_the_input_is_looked_at(self):
        os.symlink("nowhere", self.folder / "out.raw")
        self.refuse(EXISTS, "no-such-input", "-o", "out.raw", code=USAGE)

    def test_dangling_symbolic_link_with_force(self):
        os.symlink("nowhere", self.folder / "out.raw")
        self.convert("in.qevm", "-o", "out.raw", "-f")
        self.assertRaw("out.raw", self.stream)

    def test_symbolic_links_in_a_circle(self):
        os.symlink("out.raw", self.folder / "back")
        os.symlink("back", self.folder / "out.raw")
        self.refuse("out.raw: *: Too many levels of symbolic links", "in.qevm", "-o", "out.raw")

    def test_hard_link_with_force_leaves_the_other_name_alone(self):
        self.write("other", b"precious")
        os.link(self.folder / "other", self.folder / "out.raw")
        self.convert("in.qevm", "-o", "out.raw", "-f")
        self.assertRaw("out.raw", self.stream)
        self.assertEqual((self.folder / "other").read_bytes(), b"precious")

    def test_through_the_name_of_a_descriptor(self):
        """A link like /dev/stdout: the file that standard output is gets written, the link stays."""
        (self.folder / "dev").mkdir()
        os.symlink("/proc/self/fd/1", self.folder / "dev/stdout")
        with open(self.folder / "out.raw", "wb") as out:
            self.convert("in.qevm", "--to", "raw", "-f", "-o", "dev/stdout", stdout=out)
        self.assertEqual(os.readlink(self.folder / "dev/stdout"), "/proc/self/fd/1")
        self.assertEqual(os.listdir(self.folder / "dev"), ["stdout"])
        self.assertRaw("out.raw", self.stream)
        self.assertEqual(self.names(), {"in.qevm", "out.raw", "dev"})
        result = self.run_tool("in.qevm", "--to", "raw", "-o", "dev/stdout")  # a pipe
        self.assertEqual(result.out == self.stream.raw(), True)

    def test_through_the_descriptor_of_a_file_that_is_gone(self):
        (self.folder / "dev").mkdir()
        os.symlink("/proc/self/fd/1", self.folder / "dev/stdout")
        with open(self.folder / "out.raw", "wb") as out:
            os.unlink(self.folder / "out.raw")
            self.refuse("dev/stdout: create: *", "in.qevm", "--to", "raw", "-f", "-o", "dev/stdout", stdout=out)


class Itself(Case):
    def setUp(self):
        super().setUp()
        self.write("in.raw", streams.small().bytes)

    def test_by_path(self):
        for name in ("in.raw", "./in.raw", str(self.folder / "in.raw"), "../folder/in.raw"):
            for force in ([], ["--force"]):
                self.refuse(name + ITSELF, "in.raw", "-o", name, *force, code=USAGE)

    def test_by_links(self):
        os.symlink("in.raw", self.folder / "soft.raw")
        os.link(self.folder / "in.raw", self.folder / "hard.raw")
        for name in ("soft.raw", "hard.raw"):
            self.refuse(name + ITSELF, "in.raw", "-o", name, "--force", code=USAGE)
            self.refuse("in.raw" + ITSELF, name, "-o", "in.raw", "--force", code=USAGE)

    def test_by_standard_input(self):
        with open(self.folder / "in.raw", "rb") as file:
            self.refuse("in.raw" + ITSELF, "-", "-o", "in.raw", "--force", stdin=file, code=USAGE)
            self.refuse("in.raw" + ITSELF, "/dev/stdin", "-o", "in.raw", "-f", stdin=file, code=USAGE)

    def test_by_standard_output(self):
        for mode in ("ab", "r+b"):
            with open(self.folder / "in.raw", mode) as file:
                self.refuse("*" + ITSELF, "in.raw", "-o", "-", "--to", "raw", stdout=file, code=USAGE)


class Folders(Case):
    def setUp(self):
        super().setUp()
        self.small()

    def test_output_is_a_folder(self):
        (self.folder / "out.raw").mkdir()
        os.symlink("out.raw", self.folder / "link.raw")
        for name in ("out.raw", "link.raw"):
            for force in ([], ["-f"]):
                self.refuse(name + ": is a folder; name a file in it", "in.qevm", "-o", name, *force, code=USAGE)
        for name in (".", "..", "/", "out.raw/"):
            self.refuse(name + ": is a folder; name a file in it", "in.qevm", "--to", "raw", "-o", name, code=USAGE)

    def test_folder_is_missing(self):
        for force in ([], ["-f"]):
            self.refuse("no/out.raw: create: No such file or directory", "in.qevm", "-o", "no/out.raw", *force)
        self.refuse("no/out.raw: create: No such file or directory", "no-such-input", "-o", "no/out.raw")
        self.refuse("no/: create: *", "in.qevm", "--to", "raw", "-o", "no/")

    def test_folder_is_a_file(self):
        self.refuse("in.qevm/out.raw: create: Not a directory", "in.qevm", "-o", "in.qevm/out.raw")

    def test_folder_is_not_writable(self):
        nobody = self.nobody()
        (self.folder / "sub").mkdir()
        (self.folder / "sub").chmod(0o555)
        self.refuse("sub/out.raw: create: Permission denied", "in.qevm", "-o", "sub/out.raw", **nobody)
        self.refuse("sub/out.raw: create: Permission denied", "no-such-input", "-o", "sub/out.raw", **nobody)

    def test_folder_cannot_be_entered(self):
        nobody = self.nobody()
        (self.folder / "sub").mkdir()
        (self.folder / "sub").chmod(0o600)
        self.refuse("sub/out.raw: create: Permission denied", "in.qevm", "-o", "sub/out.raw", **nobody)

    def test_kernel_file_systems(self):
        self.refuse("/proc/out.raw: create: *", "in.qevm", "-o", "/proc/out.raw", **self.nobody())


class Devices(Case):
    """Without privileges: a mistake must not cost the machine its /dev/null."""

    def setUp(self):
        super().setUp()
        self.stream = self.small()

    def test_null(self):
        for name in ("elf", "raw", "lime"):
            self.convert("in.qevm", "--to", name, "-o", "/dev/null", **self.nobody())
            self.convert("in.qevm", "--to", name, "-f", "-o", "/dev/null", **self.nobody())

    def test_full(self):
        self.refuse(
            "/dev/full: offset 0x0: write: No space left on device",
            *["in.qevm", "--to", "raw", "-o", "/dev/full"],
            **self.nobody(),
        )

    def test_fifo(self):
        os.mkfifo(self.folder / "out.fifo")
        for threads in ("1", "8"):
            process = self.start("in.qevm", "--to", "raw", "-o", "out.fifo", "--threads", threads)
            self.assertEqual((self.folder / "out.fifo").read_bytes() == self.stream.raw(), True)
            self.assertEqual(process.communicate(), (b"", b""))
            self.assertEqual(process.returncode, 0)
        self.assertEqual(self.names(), {"in.qevm", "out.fifo"})

    def test_fifo_whose_reader_leaves(self):
        os.mkfifo(self.folder / "out.fifo")
        process = self.start("in.qevm", "--to", "raw", "-o", "out.fifo")
        with open(self.folder / "out.fifo", "rb", buffering=0) as fifo:
            fifo.read(10)
        self.assertRegex(
            process.communicate()[1], rb"\Avmconvert: out\.fifo: offset 0x[0-9a-f]+: write: Broken pipe\n\Z"
        )
        self.assertEqual(process.returncode, FAILED)

    def test_socket(self):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(self.folder / "out.raw"))
            for force in ([], ["-f"]):
                self.refuse(
                    "out.raw: exists and is not a regular file", "in.qevm", "-o", "out.raw", *force, code=USAGE
                )


class Looks(Case):
    def test_mode_is_0600_whatever_the_umask(self):
        self.small()
        for mask in (0o000, 0o022, 0o077, 0o117):
            self.convert("in.qevm", "-f", "-o", "out.raw", umask=mask)
            self.assertEqual(stat.S_IMODE(os.stat(self.folder / "out.raw").st_mode), 0o600)

    def test_mode_of_a_replaced_file_does_not_stay(self):
        self.small()
        self.write("out.raw", b"").chmod(0o666)
        self.convert("in.qevm", "-f", "-o", "out.raw")
        self.assertEqual(stat.S_IMODE(os.stat(self.folder / "out.raw").st_mode), 0o600)

    def test_mode_of_the_unfinished_file(self):
        self.write("in.qevm", streams.sparse(1 << 30).bytes)
        process = self.start("in.qevm", "--no-sparse", "-o", "out.raw", umask=0)
        self.wait_until(lambda: len(self.names()) == 2, process)
        (name,) = (name for name in self.names() if name.endswith(".tmp"))
        self.assertEqual(stat.S_IMODE(os.stat(self.folder / name).st_mode), 0o600)
        process.kill()
        process.communicate()

    def allocated(self, *options) -> int:
        self.convert("in.qevm", "-f", "-o", "out.raw", *options)
        return os.stat(self.folder / "out.raw").st_blocks * 512

    def test_sparse_unless_told_otherwise(self):
        stream = streams.sparse(64 << 20)
        self.write("in.qevm", stream.bytes)
        self.assertLess(self.allocated(), 1 << 20)
        self.assertRaw("out.raw", stream)
        self.assertGreaterEqual(self.allocated("--no-sparse"), 64 << 20)
        self.assertRaw("out.raw", stream)
        self.assertLess(self.allocated("--threads", "7"), 1 << 20)
        self.assertRaw("out.raw", stream)

    def test_the_input_keeps_its_content_and_times(self):
        self.small()
        before = {name[1]: value for name, value in self.state().items()}
        self.convert("in.qevm", "-o", "out.raw")
        self.assertEqual({name[1]: value for name, value in self.state().items()}[b"in.qevm"], before[b"in.qevm"])


class ClosedDescriptors(Case):
    """Files that are opened must not take the place of standard output or error."""

    def check(self, redirections: str, code: int, *args):
        stream = self.small()
        command = ["/bin/sh", "-c", f'exec "$0" "$@" {redirections}']
        result = self.run_tool(*args, wrapper=command, code=code)
        if code == 0:
            self.assertRaw("out.raw", stream)
            os.unlink(self.folder / "out.raw")
        return result

    def test_messages_do_not_land_in_the_output(self):
        for redirections in ("2>&-", ">&- 2>&-", "<&- >&- 2>&-", "<&- 2>&-"):
            with self.subTest(redirections):
                self.check(redirections, 0, "in.qevm", "-vv", "--progress=always", "-o", "out.raw")

    def test_closed_standard_output(self):
        result = self.check(">&-", FAILED, "in.qevm", "--to", "raw", "-o", "-")
        self.assertEqual(result.err, b"vmconvert: standard output: offset 0x0: write: Bad file descriptor\n")

    def test_closed_standard_input(self):
        result = self.check("<&-", FAILED, "-", "-o", "out.raw")
        self.assertRegex(result.err, rb"\Avmconvert: standard input: [^\n]*\n\Z")
        self.assertEqual(self.names(), {"in.qevm"})


@needs_root
class Privileged(Case):
    def test_the_output_belongs_to_the_user(self):
        nobody = self.nobody()
        stream = self.small()
        self.folder.chmod(0o777)
        self.convert("in.qevm", "-o", "out.raw", **nobody)
        self.assertRaw("out.raw", stream)
        self.assertEqual(os.stat(self.folder / "out.raw").st_uid, nobody["user"])

    def test_another_users_file_in_a_sticky_folder(self):
        nobody = self.nobody()
        self.small()
        self.folder.chmod(0o1777)
        self.write("out.raw", b"precious")
        self.refuse("out.raw: rename: *", "in.qevm", "-f", "-o", "out.raw", **nobody)


if __name__ == "__main__":
    main()
