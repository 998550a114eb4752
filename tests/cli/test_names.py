"""File names: what the output's suffix says, and names that need care."""

import os

from harness import USAGE, Case, main

_MAGIC = {"elf": b"\x7fELF", "lime": b"EMiL"}
_SUFFIXES = {
    "elf": [".elf", ".core", ".vmcore", ".dump"],
    "raw": [".raw", ".dd", ".img", ".mem", ".bin"],
    "lime": [".lime"],
}
_NO_FORMAT = (
    ": the output format cannot be told from this name; give --to elf|raw|lime or one of the suffixes "
    ".elf .core .vmcore .dump .raw .dd .img .mem .bin .lime"
)


class Suffixes(Case):
    def require_format(self, name: str, kind: str):
        content = (self.folder / name).read_bytes()
        if kind == "raw":
            self.assertEqual(len(content), 2 << 20)
        else:
            self.assertTrue(content.startswith(_MAGIC[kind]), name)

    def test_every_suffix_in_any_case(self):
        self.small()
        for kind, suffixes in _SUFFIXES.items():
            for suffix in suffixes:
                for name in (f"lower{suffix}", f"upper{suffix.upper()}", f"title{suffix.title()}"):
                    self.convert("in.qevm", "-o", name)
                    self.require_format(name, kind)

    def test_only_the_last_suffix_of_the_last_part_counts(self):
        self.small()
        (self.folder / "sub.elf").mkdir()
        for name in ("sub.elf/out.raw", "out.elf.raw", ".raw"):
            self.convert("in.qevm", "-o", name)
            self.require_format(name, "raw")

    def test_option_wins_over_suffix(self):
        self.small()
        for kind in _SUFFIXES:
            self.convert("in.qevm", "-o", f"{kind}.txt", "--to", kind)
            self.require_format(f"{kind}.txt", kind)
            self.convert("in.qevm", "-o", f"{kind}.lime", "--to", kind)
            self.require_format(f"{kind}.lime", kind)

    def test_unknown_suffixes(self):
        self.small()
        (self.folder / "sub.raw").mkdir()
        for name in ("out", "out.", "out.txt", "out.raw.gz", "sub.raw/out", "out.ra", "out.raws", "raw"):
            self.refuse(name + _NO_FORMAT, "in.qevm", "-o", name, code=USAGE)
        self.refuse("*" + _NO_FORMAT, "in.qevm", "-o", "-", code=USAGE)


class OddNames(Case):
    def check(self, source, target):
        """Converts from and to these names, and sees both in messages in one line."""
        stream = self.small(source)
        self.convert("--to", "raw", "-o", target, "--", source)
        self.assertRaw(target, stream)
        result = self.run_tool("--to", "raw", "-o", target, "--", source, code=USAGE)
        self.assertRegex(result.err, rb"\Avmconvert: [^\n]*: exists already \(use --force to replace it\)\n\Z")
        self.run_tool("-vv", "-f", "--to", "raw", "-o", target, "--", source)
        result = self.run_tool("--to", "raw", "-o", b"other", "--from", "libvirt-save", "--", source, code=1)
        self.assertRegex(result.err, rb"\Avmconvert: [ -~]*: [^\n]*\n\Z")
        os.unlink(os.fsencode(self.folder) + b"/" + os.fsencode(source))
        os.unlink(os.fsencode(self.folder) + b"/" + os.fsencode(target))
        self.assertEqual(self.names(), set())

    def test_spaces(self):
        self.check("a save.qevm", " an image .raw ")

    def test_newlines_and_escapes(self):
        self.check("a\nsave\x1b[31m", "an\nimage\r.raw")

    def test_not_utf8(self):
        self.check(b"s\xe4ve\xff", b"im\xe4ge\x80.raw")

    def test_quotes_and_shell_characters(self):
        self.check("a'b\"c\\$(d)`e`*?[f]", "%s%n{}<>|&;.raw")

    def test_an_equals_sign(self):
        self.check("--to=raw", "a=b.raw")

    def test_long(self):
        self.check("s" * 250, "i" * 246 + ".raw")
        self.check("s" * 255, "\u00e4" * 120 + ".raw")

    def test_too_long_is_refused_before_any_work(self):
        self.small()
        self.refuse(f"{'i' * 300}.raw: create: File name too long", "in.qevm", "-o", "i" * 300 + ".raw")
        self.refuse(f"{'i' * 300}: open: File name too long", "i" * 300, "-o", "out.raw")

    def test_leading_dash(self):
        stream = self.small("-in.qevm")
        self.convert("-o", "-out.raw", "--", "-in.qevm")
        self.assertRaw("-out.raw", stream)
        self.convert("./-in.qevm", "-o./-2.raw")
        self.assertRaw("-2.raw", stream)

    def test_after_two_dashes_everything_is_a_name(self):
        for name in ("--help", "--version", "-o", "-f", "-vv", "--"):
            with self.subTest(name=name):
                stream = self.small(name)
                self.convert("-f", "-o", "out.raw", "--", name)
                self.assertRaw("out.raw", stream)

    def test_a_file_named_like_a_verb(self):
        stream = self.small("formats")
        for name in ("./formats", str(self.folder / "formats")):
            self.convert("-f", "-o", "out.raw", name)
            self.assertRaw("out.raw", stream)
        (self.folder / "formats").rename(self.folder / "in.qevm")
        self.convert("in.qevm", "--to", "raw", "-o", "formats")
        self.assertRaw("formats", stream)

    def test_a_file_named_like_standard_input(self):
        stream = self.small("-")
        self.convert("./-", "-o", "out.raw")
        self.assertRaw("out.raw", stream)
        self.convert("./-", "--to", "raw", "-f", "-o", "./-.raw")
        self.assertRaw("-.raw", stream)


if __name__ == "__main__":
    main()
