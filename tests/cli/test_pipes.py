"""Standard input and output."""

import gzip
import os
import socket
import subprocess
import threading

import streams
from harness import FAILED, USAGE, Case, main

_TERMINAL = "is a terminal; redirect it to a file or pipe"


class StandardOutput(Case):
    def test_is_what_a_file_would_be(self):
        self.small()
        for kind in ("elf", "raw", "lime"):
            self.convert("in.qevm", "-o", f"file.{kind}")
            expected = (self.folder / f"file.{kind}").read_bytes()
            for options in ([], ["--threads=8"], ["--no-sparse"], ["--force"]):
                self.assertEqual(self.convert("in.qevm", "--to", kind, "-o", "-", *options).out == expected, True)

    def test_more_than_a_pipe_holds(self):
        stream = streams.dense(24 << 20)
        self.write("in.qevm", stream.bytes)
        self.assertEqual(self.convert("in.qevm", "--to", "raw", "-o", "-").out == stream.raw(), True)

    def test_into_a_file_at_a_place(self):
        stream = self.small()
        for mode in ("wb", "ab"):
            with open(self.folder / mode, mode) as out:
                out.write(b"before")
                out.flush()
                self.convert("in.qevm", "--to", "raw", "-o", "-", stdout=out)
            self.assertEqual((self.folder / mode).read_bytes() == b"before" + stream.raw(), True)

    def test_terminal(self):
        self.small()
        ours, theirs = self.terminal()
        for threads in ("1", "2"):
            result = self.run_tool(
                "in.qevm", "--to", "raw", "-o", "-", "--threads", threads, stdout=theirs, code=USAGE
            )
            self.assertEqual(result.err, f"vmconvert: standard output: {_TERMINAL}\n".encode())
        os.set_blocking(ours, False)
        with self.assertRaises(BlockingIOError):  # nothing was written to it
            os.read(ours, 1)

    def test_terminal_by_its_name(self):
        self.small()
        _, theirs = self.terminal()
        name = os.ttyname(theirs)
        self.refuse(f"{name}: {_TERMINAL}", "in.qevm", "--to", "raw", "-o", name, code=USAGE)

    def test_full(self):
        self.small()
        with open("/dev/full", "wb") as full:
            self.refuse(
                "standard output: offset 0x0: write: No space left on device",
                *["in.qevm", "--to", "elf", "-o", "-"],
                stdout=full,
            )

    def test_reader_that_leaves(self):
        self.write("in.qevm", streams.dense(8 << 20).bytes)
        for read in (0, 1, 5000, 3 << 20):
            process = self.start("in.qevm", "--to", "raw", "-o", "-")
            while read:
                read -= len(os.read(process.stdout.fileno(), read))
            process.stdout.close()
            error = process.stderr.read()
            process.stderr.close()
            self.assertRegex(error, rb"\Avmconvert: standard output: offset 0x[0-9a-f]+: write: Broken pipe\n\Z")
            self.assertEqual(process.wait(), FAILED)
        self.assertEqual(self.names(), {"in.qevm"})


class StandardInput(Case):
    ARGS = ("-", "-o", "out.raw", "-f")

    def test_file(self):
        stream = self.small()
        with open(self.folder / "in.qevm", "rb") as file:
            self.convert(*self.ARGS, stdin=file)
        self.assertRaw("out.raw", stream)

    def test_file_that_is_open_for_writing_as_well(self):
        stream = self.small()
        with open(self.folder / "in.qevm", "r+b") as file:
            self.convert(*self.ARGS, stdin=file)
        self.assertRaw("out.raw", stream)
        self.assertRaw("out.raw", self.small())
        self.assertEqual((self.folder / "in.qevm").read_bytes(), stream.bytes)

    def test_file_whose_beginning_was_read(self):
        """What somebody took before, a header perhaps, does not belong to it."""
        stream = streams.small()
        self.write("in", b"a line\n" + stream.bytes)
        with open(self.folder / "in", "rb", buffering=0) as file:
            file.seek(7)
            self.convert(*self.ARGS, stdin=file)
        self.assertRaw("out.raw", stream)

    def test_pipe(self):
        stream = streams.small()
        self.convert(*self.ARGS, input=stream.bytes)
        self.assertRaw("out.raw", stream)

    def test_pipe_that_gives_one_byte_at_a_time(self):
        stream = streams.sparse(1 << 20)
        process = self.start(*self.ARGS, stdin=subprocess.PIPE, bufsize=0)
        for at in range(64):
            process.stdin.write(stream.bytes[at : at + 1])
        process.stdin.write(stream.bytes[64:])
        self.assertEqual(process.communicate(), (b"", b""))
        self.assertRaw("out.raw", stream)

    def test_socket(self):
        stream = streams.small()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            writer = threading.Thread(target=lambda: (ours.sendall(stream.bytes), ours.close()))
            writer.start()
            self.convert(*self.ARGS, stdin=theirs)
            writer.join()
        self.assertRaw("out.raw", stream)

    def test_compressed(self):
        stream = self.small("plain")
        packed = self.write("in.gz", gzip.compress(stream.bytes))
        with open(packed, "rb") as file:
            self.convert(*self.ARGS, stdin=file)
        self.assertRaw("out.raw", stream)
        (self.folder / "out.raw").unlink()
        self.convert(*self.ARGS, input=packed.read_bytes())
        self.assertRaw("out.raw", stream)

    def test_terminal(self):
        _, theirs = self.terminal()
        self.refuse(
            "standard input: is a terminal; redirect a file or pipe to it", *self.ARGS, stdin=theirs, code=USAGE
        )

    def test_other_kinds(self):
        self.refuse("standard input: is neither *", *self.ARGS)  # /dev/null
        folder = os.open(self.folder, os.O_RDONLY)
        self.refuse("standard input: read: Is a directory", *self.ARGS, stdin=folder)
        os.close(folder)

    def test_not_open_for_reading(self):
        self.small()
        with open(self.folder / "in.qevm", "ab") as file:
            self.refuse("standard input: *read: Bad file descriptor", *self.ARGS, stdin=file)

    def test_empty_and_tiny(self):
        self.refuse("standard input: is empty", *self.ARGS, input=b"")
        for size in (1, 7, 16, 17):
            self.refuse("standard input: is in none of the known formats *", *self.ARGS, input=bytes(size))

    def test_messages_name_it(self):
        result = self.run_tool("-v", *self.ARGS, input=streams.small().bytes)
        self.assertIn(b"vmconvert: standard input: input format qevm\n", result.err)


class Both(Case):
    def test_pipe_to_pipe(self):
        stream = streams.small()
        for data in (stream.bytes, gzip.compress(stream.bytes)):
            self.assertEqual(self.convert("-", "--to", "raw", "-o", "-", input=data).out == stream.raw(), True)
        self.assertEqual(self.names(), set())

    def test_the_same_pipe_twice_is_not_the_input_itself(self):
        ours, theirs = socket.socketpair()
        stream = streams.small()
        with ours, theirs:
            process = self.start("-", "--to", "raw", "-o", "-", stdin=theirs, stdout=theirs)
            theirs.close()
            ours.sendall(stream.bytes)
            ours.shutdown(socket.SHUT_WR)
            with ours.makefile("rb") as answer:
                self.assertEqual(answer.read() == stream.raw(), True)
        self.assertEqual(process.communicate()[1], b"")
        self.assertEqual(process.returncode, 0)


if __name__ == "__main__":
    main()
