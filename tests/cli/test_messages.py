"""What is said at which verbosity, progress, and what --salvage reports."""

import os
import time

import streams
from harness import DONE, LOST, Case, main

_LINE = rb"\Avmconvert: [^\n]+\Z"


class Verbosity(Case):
    def setUp(self):
        super().setUp()
        self.small()

    def lines(self, *options, code=DONE) -> list[bytes]:
        result = self.run_tool("in.qevm", "-f", "-o", "out.raw", *options, code=code)
        self.assertEqual(result.out, b"")
        for line in result.err.splitlines():
            self.assertRegex(line, _LINE)
        return result.err.splitlines()

    def test_silent_by_default(self):
        self.assertEqual(self.lines(), [])
        self.assertEqual(self.lines("-q"), [])

    def test_decisions(self):
        lines = self.lines("-v")
        self.assertEqual(lines[0], b"vmconvert: in.qevm: input format qevm")
        self.assertIn(b"vmconvert: in.qevm: machine type pc-i440fx-7.2, board i440fx", lines)
        self.assertEqual(lines[-1], b"vmconvert: out.raw: output format raw, 2 MiB")
        self.assertEqual(self.lines("--verbose"), lines)

    def test_details(self):
        decisions, details = self.lines("-v"), self.lines("-vv")
        self.assertEqual([line for line in details if line in decisions], decisions)
        self.assertIn(b"vmconvert: in.qevm: block pc.ram: 0x200000 bytes, 8 page records, 7 runs", details)
        for same in (["-v", "-v"], ["-vvv"], ["--verbose", "-v"]):
            self.assertEqual(self.lines(*same), details)

    def test_quiet_does_not_hide_errors(self):
        self.refuse("no: open: No such file or directory", "no", "-f", "-o", "out.raw", "-q")

    def test_text_of_the_input_cannot_control_the_terminal(self):
        """Names in a stream are somebody else's: block names here."""
        content = streams.small().bytes.replace(b"\x06pc.ram", b"\x06p\x1b[2J\n")
        self.write("in.qevm", content)
        result = self.run_tool("in.qevm", "-vv", "-f", "-o", "out.raw", code=None)
        self.assertNotIn(b"\x1b", result.err)
        for line in result.err.splitlines():
            self.assertRegex(line, _LINE)

    def require(self, result, code):
        return super().require(result, result.code if code is None else code)


class Progress(Case):
    def setUp(self):
        super().setUp()
        self.small()

    def test_never_where_standard_error_is_no_terminal(self):
        self.convert("in.qevm", "-f", "-o", "out.raw")
        self.convert("in.qevm", "-f", "-o", "out.raw", "--progress=auto")

    def test_always(self):
        for options in ([], ["-q"]):
            result = self.run_tool("in.qevm", "-f", "-o", "out.raw", "--progress", "always", *options)
            self.assertRegex(result.err, rb"\A\rvmconvert: out\.raw: 2 MiB of 2 MiB[^\r\n]*\r *\r\Z")

    def test_does_not_go_to_standard_output(self):
        result = self.run_tool("in.qevm", "--to", "raw", "-o", "-", "--progress", "always")
        self.assertEqual(len(result.out), 2 << 20)

    def on_terminal(self, *options) -> bytes:
        ours, theirs = self.terminal()
        with self.start("in.qevm", "-f", "-o", "out.raw", *options, stderr=theirs) as process:
            process.wait(timeout=20)
        os.set_blocking(ours, False)
        try:
            return os.read(ours, 100000)
        except BlockingIOError:
            return b""

    def test_on_a_terminal(self):
        self.assertRegex(self.on_terminal(), rb"\A\rvmconvert: out\.raw: 2 MiB of 2 MiB.*\r *\r\Z")
        self.assertEqual(self.on_terminal("--progress", "never"), b"")
        self.assertEqual(self.on_terminal("-q"), b"")

    def test_is_wiped_before_an_error(self):
        self.write("in.qevm", streams.dense(40 << 20).bytes)
        process = self.start("in.qevm", "--to", "raw", "-o", "-", "--progress=always")
        process.stdout.read(17 << 20)
        time.sleep(0.2)  # so that it is drawn
        process.stdout.read(16 << 20)
        process.stdout.close()
        error = process.stderr.read()
        process.stderr.close()
        process.wait()
        self.assertRegex(error, rb"\r *\rvmconvert: standard output: offset 0x[0-9a-f]+: write: Broken pipe\n\Z")

    def test_standard_error_that_nobody_reads(self):
        """Messages that cannot be delivered do not stop the work."""
        stream = self.small()
        for target in ("/dev/full", None):
            if target:
                error = os.open(target, os.O_WRONLY)
            else:
                reading, error = os.pipe()
                os.close(reading)
            args = ["in.qevm", "-vv", "--progress=always", "-f", "-o", "out.raw"]
            self.run_tool(*args, stderr=error)
            os.close(error)
            self.assertRaw("out.raw", stream)


class Salvage(Case):
    """A stream that ends in the middle of its pages."""

    def setUp(self):
        super().setUp()
        self.stream = streams.small()
        self.end = self.stream.pages_begin + 5 + 15 + 2 * 4096 + 8 + 8 + 100  # in the third page
        self.write("in.qevm", self.stream.bytes[: self.end])

    LOST = (
        rb"\Avmconvert: lost: in\.qevm: offset 0x[0-9a-f]+: page content is cut off: [^\n]+\n"
        rb"vmconvert: lost: in\.qevm: no content for 2\.0 MiB of guest memory, left out: "
        rb"0x2000-0x200000\n\Z"
    )

    def test_is_refused_without_the_option(self):
        self.refuse(
            "in.qevm: offset 0x*: page content is cut off: 4096 bytes wanted, * left*", "in.qevm", "-o", "out.raw"
        )

    def test_lists_what_is_missing(self):
        for options in ([], ["-q"]):
            result = self.run_tool("in.qevm", "-f", "-o", "out.raw", "--salvage", *options, code=LOST)
            self.assertRegex(result.err, self.LOST)
            self.assertEqual(result.out, b"")

    def test_converts_what_is_there(self):
        self.run_tool("in.qevm", "-o", "out.raw", "--salvage", code=LOST)
        image = (self.folder / "out.raw").read_bytes()
        self.assertEqual(image[:8192] == self.stream.raw()[:8192], True)
        self.assertFalse(any(image[8192:]))

    def test_every_output(self):
        for kind in ("elf", "lime"):
            self.run_tool("in.qevm", "-o", f"out.{kind}", "--salvage", code=LOST)
            result = self.run_tool("in.qevm", "--to", kind, "-o", "-", "--salvage", code=LOST)
            self.assertEqual((self.folder / f"out.{kind}").read_bytes() == result.out, True)

    def test_from_a_pipe(self):
        content = (self.folder / "in.qevm").read_bytes()
        result = self.run_tool("-", "-o", "out.raw", "--salvage", code=LOST, input=content)
        self.assertRegex(result.err, self.LOST.replace(rb"in\.qevm", b"standard input"))

    def test_of_a_sound_input_changes_nothing(self):
        self.write("sound.qevm", self.stream.bytes)
        self.convert("sound.qevm", "-o", "out.raw", "--salvage")
        self.assertRaw("out.raw", self.stream)

    def test_refusals_stay_refusals(self):
        self.write("out.raw", b"precious")
        self.refuse("out.raw: exists already *", "in.qevm", "-o", "out.raw", "--salvage", code=2)


if __name__ == "__main__":
    main()
