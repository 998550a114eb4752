"""Compressed inputs."""

import bz2
import gzip
import lzma
import random
import shutil
import subprocess

import streams
from harness import FAILED, LOST, SOURCE, Case, main

_TOOLS = ("gzip", "bzip2", "xz", "zstd", "lz4", "lzop")
_HINT = r" \(--salvage converts what comes before\)"


def _pack(tool: str, content: bytes, *options: str) -> bytes:
    return subprocess.run([tool, "-c", *options], input=content, stdout=subprocess.PIPE, check=True).stdout


class EveryCodec(Case):
    """Each test runs for every codec; setUp() is given one of them."""

    def for_each(self, check):
        for tool in _TOOLS:
            with self.subTest(tool):
                if shutil.which(tool) is None:
                    self.skipTest(f"needs {tool}")
                check(tool)

    def require(self, result, code):
        return super().require(result, result.code if code is None else code)

    def require_raw(self, content: bytes, stream, *options):
        self.write("in", content)
        self.convert("in", "-f", "-o", "out.raw", *options)
        self.assertRaw("out.raw", stream)

    def test_gives_the_same_bytes(self):
        stream = streams.small()

        def check(tool):
            packed = _pack(tool, stream.bytes)
            self.require_raw(packed, stream)
            self.require_raw(packed, stream, "--salvage")
            self.convert("-", "-f", "-o", "out.raw", input=packed)
            self.assertRaw("out.raw", stream)

        self.for_each(check)

    def test_levels(self):
        stream = streams.small()

        def check(tool):
            for level in ("-1", "-9"):
                self.require_raw(_pack(tool, stream.bytes, level), stream)

        self.for_each(check)

    def test_larger_than_any_buffer(self):
        stream = streams.dense(5 << 20)
        self.for_each(lambda tool: self.require_raw(_pack(tool, stream.bytes, "-1"), stream))

    def test_concatenated(self):
        """What gzip -c a b or a parallel compressor writes is one stream."""
        stream = streams.small()
        cuts = [0, 1, 5000, 5000, len(stream.bytes)]

        def check(tool):
            pieces = [stream.bytes[begin:end] for begin, end in zip(cuts, cuts[1:])]
            self.require_raw(b"".join(_pack(tool, piece) for piece in pieces), stream)

        self.for_each(check)

    def test_cut_off(self):
        stream = streams.small()

        def check(tool):
            packed = _pack(tool, stream.bytes)
            ends = [*range(9, 19), 30, 100, len(packed) // 2, *range(len(packed) - 12, len(packed))]
            for end in ends:
                self.write("in", packed[:end])
                result = self.run_tool("in", "-o", "out.raw", code=None)
                self.assertEqual(result.code, FAILED, f"cut at {end} of {len(packed)}: {result.err}")
                self.assertRegex(result.err.decode(), rf"\Avmconvert: in: {tool} data: [^\n]+{_HINT}\n\Z")
                self.assertEqual(self.names(), {"in"})
                result = self.run_tool("in", "-o", "out.raw", "--salvage", code=None)
                self.assertIn(result.code, (FAILED, LOST), f"cut at {end}")
                self.assertRegex(result.err.decode(), rf"\Avmconvert: lost: in: {tool} data: [^\n]+\n")
                self.assertEqual((self.folder / "out.raw").exists(), result.code == LOST)
                (self.folder / "out.raw").unlink(missing_ok=True)

        self.for_each(check)

    def test_salvage_keeps_what_comes_before(self):
        """Of a stream cut off near its end, most pages are converted."""
        stream = streams.dense(4 << 20)

        def check(tool):
            packed = _pack(tool, stream.bytes, "-1")
            self.write("in", packed[: len(packed) * 3 // 4])
            self.run_tool("in", "-o", "out.raw", "--salvage", "-f", code=LOST)
            image = (self.folder / "out.raw").read_bytes()
            expected = stream.raw()
            pages = [a for a in range(0, len(image), streams.PAGE) if any(image[a : a + streams.PAGE])]
            for address in pages:
                self.assertEqual(image[address : address + 4096] == expected[address : address + 4096], True, tool)
            self.assertGreater(len(pages), len(stream.pages) // 2)

        self.for_each(check)

    def test_damaged(self):
        """Never a signal; never success where the codec has a checksum over the content."""
        stream = streams.small()

        def check(tool):
            packed = _pack(tool, stream.bytes, *(["--check"] if tool == "zstd" else []))
            for seed in range(25):
                content = bytearray(packed)
                at = random.Random(seed).randrange(20, len(content) - 20)
                content[at] ^= 0x55
                self.write("in", content)
                result = self.run_tool("in", "-o", "out.raw", code=None)
                self.assertEqual(result.code, FAILED, f"byte {at}: {result.err}")
                self.assertRegex(result.err.decode(), r"\Avmconvert: in: [^\n]+\n\Z")
                result = self.run_tool("in", "-o", "out.raw", "--salvage", "-f", code=None)
                self.assertIn(result.code, (FAILED, LOST))
                (self.folder / "out.raw").unlink(missing_ok=True)

        self.for_each(check)

    def test_only_the_magic_number(self):
        for magic in (
            *(b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0"),
            *(b"\x89LZO\0\r\n\x1a\n", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"),
        ):
            for tail in (b"", b"\0", bytes(40), b"\xff" * 40):
                self.write("in", magic + tail)
                self.refuse("in: * data: *", "in", "-o", "out.raw")

    def test_unpacked_content_is_told_as_usual(self):
        def check(tool):
            self.write("in", _pack(tool, b"no save"))
            self.refuse("in: is in none of the known formats *", "in", "-o", "out.raw")
            self.write("in", _pack(tool, b""))
            self.refuse("in: is empty", "in", "-o", "out.raw")

        self.for_each(check)


class Variants(Case):
    def setUp(self):
        super().setUp()
        self.stream = streams.small()

    def require_raw(self, content: bytes):
        self.write("in", content)
        self.convert("in", "-f", "-o", "out.raw")
        self.assertRaw("out.raw", self.stream)

    def test_gzip_with_a_name(self):
        self.write("a name", self.stream.bytes)
        subprocess.run(["gzip", self.folder / "a name"], check=True)
        self.require_raw((self.folder / "a name.gz").read_bytes())

    def test_gzip_members(self):
        half = len(self.stream.bytes) // 2
        self.require_raw(gzip.compress(self.stream.bytes[:half]) + gzip.compress(self.stream.bytes[half:]))

    def test_bzip2_streams(self):
        half = len(self.stream.bytes) // 2
        self.require_raw(bz2.compress(self.stream.bytes[:half]) + bz2.compress(self.stream.bytes[half:]))

    def test_xz_checks_and_padding(self):
        for check in (lzma.CHECK_NONE, lzma.CHECK_CRC32, lzma.CHECK_CRC64, lzma.CHECK_SHA256):
            packed = lzma.compress(self.stream.bytes, check=check)
            self.require_raw(packed)
            self.require_raw(packed + bytes(8))

    def test_something_behind_the_compressed_data(self):
        for packed in (gzip.compress(self.stream.bytes), lzma.compress(self.stream.bytes)):
            self.write("in", packed + b"something")
            self.refuse("in: * data: *", "in", "-o", "out.raw")

    def test_a_compressed_name_does_not_make_a_compressed_input(self):
        self.write("in.gz", self.stream.bytes)
        self.convert("in.gz", "-o", "out.raw")
        self.assertRaw("out.raw", self.stream)

    def test_compressed_twice_is_refused(self):
        self.write("in", gzip.compress(gzip.compress(self.stream.bytes)))
        self.refuse("in: is in none of the known formats *", "in", "-o", "out.raw")

    def test_the_sample(self):
        """A compressed save and what it unpacks to give the same image."""
        samples = sorted((SOURCE / "samples").glob("*.qevm.xz"))
        if not samples:
            self.skipTest("no sample")
        plain = lzma.decompress(samples[0].read_bytes())
        self.write("in.qevm", plain)
        self.convert("in.qevm", "-o", "plain.elf")
        self.convert(samples[0], "-o", "packed.elf")
        self.assertEqual(
            (self.folder / "plain.elf").read_bytes() == (self.folder / "packed.elf").read_bytes(), True
        )


if __name__ == "__main__":
    main()
