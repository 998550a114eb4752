"""What `vmconvert extract` writes, and what it refuses."""

import os
import signal
import stat
import struct

import streams
from harness import FAILED, LOST, SOURCE, USAGE, Case, main

_XML = b"<domain><name>n\xc3\xa4</name>\n</domain>\n"
NO_SCREEN = "warning: in.qevm: no screen: the stream has no display device that is known\nvmconvert: "
_COOKIE = b"<cookie><cpu/></cookie>"
_JSON = b'{"page_size": 4096, "devices": []}'


class Extract(Case):
    def setUp(self):
        super().setUp()
        self.stream = streams.Stream(2 << 20, {0: streams.page(1)}, description=_JSON)
        self.write("in.save", streams.libvirt_save(self.stream.bytes, _XML, _COOKIE))
        self.write("in.qevm", self.stream.bytes)
        self.inputs = self.names()

    def extract(self, *args, **options):
        return self.convert("extract", *args, **options)

    def content(self, name) -> bytes:
        return (self.folder / name).read_bytes()


class Single(Extract):
    def test_content_is_exact(self):
        self.extract("in.save", "--config", "a", "--vmdesc", "b")
        self.assertEqual((self.content("a"), self.content("b")), (_XML, _JSON))
        self.extract("in.qevm", "--vmdesc", "c")
        self.assertEqual(self.content("c"), _JSON)
        self.assertEqual(self.names(), self.inputs | {"a", "b", "c"})

    def test_standard_output_and_input(self):
        self.assertEqual(self.extract("in.save", "--config", "-").out, _XML)
        self.assertEqual(self.extract("-", "--vmdesc", "-", input=self.stream.bytes).out, _JSON)

    def test_large_content(self):
        xml = b"<domain>" + b" " * (5 << 20) + b"</domain>"
        self.write("large.save", streams.libvirt_save(self.stream.bytes, xml))
        self.extract("large.save", "--config", "a")
        self.assertEqual(self.content("a") == xml, True)

    def test_nobody_else_may_read_it(self):
        self.extract("in.save", "--config", "a", "--all", "all")
        self.assertEqual(stat.S_IMODE((self.folder / "a").stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE((self.folder / "all").stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE((self.folder / "all/domain.xml").stat().st_mode), 0o600)

    def test_existing_output(self):
        self.write("a", b"old")
        self.refuse("a: exists already (use --force to replace it)", "extract", "in.save", "--config", "a", code=USAGE)
        self.extract("in.save", "--config", "a", "--force")
        self.assertEqual(self.content("a"), _XML)

    def test_input_as_output(self):
        for option in ("--config", "--vmdesc", "--screenshot"):
            self.refuse("in.save: is the input itself", "extract", "in.save", option, "in.save", "-f", code=USAGE)

    def test_all_or_nothing(self):
        """What is lacking is known before anything is written; of two outputs, none appears if one fails."""
        for args in (["--screenshot", "s.png", "--config", "a"], ["--config", "a", "--all", "d", "--screenshot", "-"]):
            self.refuse(NO_SCREEN.replace("in.qevm", "in.save") + "in.save: holds no screen", "extract", "in.save", *args)
        self.refuse(
            "missing/b: create: No such file or directory",
            *["extract", "in.save", "--config", "a", "--vmdesc", "missing/b"],
        )

    def test_full_device(self):
        self.refuse(
            "/dev/full: offset 0x0: write: No space left on device", "extract", "in.save", "--config", "/dev/full"
        )


class Lacking(Extract):
    def test_each_is_named(self):
        for option, what in (("--config", "configuration"), ("--screenshot", "screen")):
            why = NO_SCREEN if what == "screen" else ""
            self.refuse(f"{why}in.qevm: holds no {what}", "extract", "in.qevm", option, "out")
            self.refuse(f"{why}in.qevm: holds no {what}", "extract", "in.qevm", option, "-")
        self.small()
        self.refuse("in.qevm: holds no device description", "extract", "in.qevm", "--vmdesc", "out")

    def test_nothing_at_all(self):
        self.small()
        self.assertEqual(self.extract("in.qevm", "--list").out, b"")
        self.extract("in.qevm", "--all", "folder")
        self.assertEqual(os.listdir(self.folder / "folder"), [])

    def test_description_that_is_cut_off_or_none(self):
        for tail in (b"\x06\0\0\0\5{}", b"\x06\xff\xff\xff\xff{}", b"\x06\1\0\0\0" + b"{" * (1 << 24), bytes(64)):
            plain = streams.Stream(2 << 20, {0: streams.page(1)}).bytes
            self.write("odd", plain + tail)
            self.refuse("odd: holds no device description", "extract", "odd", "--vmdesc", "out")

    def test_padding_behind_the_description(self):
        self.write("padded", self.stream.bytes + bytes(5000))
        self.extract("padded", "--vmdesc", "out")
        self.assertEqual(self.content("out"), _JSON)


class Screenshot(Extract):
    def test_screen_of_a_real_save(self):
        sample = SOURCE / "samples/pc-16m-firmware.qevm.xz"
        png = self.extract(sample, "--screenshot", "-").out
        self.assertEqual(struct.unpack(">8x4x4sII", png[:24]), (b"IHDR", 720, 400))


class All(Extract):
    def test_everything(self):
        self.extract("in.save", "--all", "folder")
        found = {path.name: path.read_bytes() for path in (self.folder / "folder").iterdir()}
        self.assertEqual(found, {"domain.xml": _XML, "cookie.xml": _COOKIE, "vmdescription.json": _JSON})

    def test_together_with_others(self):
        self.extract("in.save", "--all", "folder", "--config", "a")
        self.assertEqual(self.content("a"), _XML)
        self.assertEqual(self.content("folder/domain.xml"), _XML)

    def test_existing_folder(self):
        (self.folder / "folder").mkdir()
        self.write("folder/domain.xml", b"old")
        self.write("folder/other", b"other")
        self.refuse(
            "folder: exists already (use --force to write into it)", "extract", "in.save", "--all", "folder", code=USAGE
        )
        self.extract("in.save", "--all", "folder", "--force")
        self.assertEqual(self.content("folder/domain.xml"), _XML)
        self.assertEqual(self.content("folder/other"), b"other")

    def test_what_is_no_folder(self):
        self.write("file", b"")
        self.refuse("file: exists and is not a folder", "extract", "in.save", "--all", "file", "-f", code=USAGE)
        self.refuse(
            "missing/folder: create: No such file or directory", "extract", "in.save", "--all", "missing/folder"
        )

    def test_failure_leaves_neither_files_nor_folder(self):
        (self.folder / "folder").mkdir()
        (self.folder / "folder/domain.xml").mkdir()
        self.refuse(
            "folder/domain.xml: is a folder; name a file in it",
            *["extract", "in.save", "--all", "folder", "--force"],
            code=USAGE,
        )

    def test_signal_leaves_nothing(self):
        """Stopped while one output is complete and the other, a pipe, is full."""
        large = b'{"devices": []' + b" " * (1 << 20) + b"}"
        stream = streams.Stream(2 << 20, {0: streams.page(1)}, description=large)
        self.write("large.save", streams.libvirt_save(stream.bytes, _XML))
        os.mkfifo(self.folder / "pipe")
        reader = os.open(self.folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        before = self.names()
        with self.start("extract", "large.save", "--config", "a", "--vmdesc", "pipe") as process:
            self.addCleanup(process.kill)
            self.wait_until(lambda: self.names() > before, process)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.assertEqual(self.names(), before)


class List(Extract):
    def test_list(self):
        listed = self.extract("in.save", "--list").out.decode().splitlines()
        self.assertEqual(
            [line.split() for line in listed],
            [
                ["--vmdesc", str(len(_JSON)), "bytes", "vmdescription.json", "application/json"],
                ["--config", str(len(_XML)), "bytes", "domain.xml", "text/xml"],
                ["--all", str(len(_COOKIE)), "bytes", "cookie.xml", "text/xml"],
            ],
        )


class Damaged(Extract):
    def test_salvage(self):
        save = self.content("in.save")
        self.write("cut", save[: len(save) - len(_JSON) - 200])
        self.refuse("cut: offset *", "extract", "cut", "--config", "a", code=FAILED)
        self.run_tool("extract", "cut", "--config", "a", "--salvage", code=LOST)
        self.assertEqual(self.content("a"), _XML)


if __name__ == "__main__":
    main()
