"""Help, version, the list of formats, and command lines that are wrong."""

import re

from harness import DONE, FAILED, SOURCE, USAGE, Case, main

COMMANDS = ("info", "extract", "verify", "formats")
SEE = " (see: vmconvert --help)"


class Help(Case):
    def test_help_goes_to_standard_output(self):
        long = self.convert("--help").out
        self.assertEqual(self.convert("-h").out, long)
        self.assertIn(b"\nUsage: vmconvert INPUT -o OUTPUT [OPTIONS]\n", b"\n" + long)

    def test_help_wins_over_a_command_line_that_is_wrong(self):
        for args in (["--help", "--bogus"], ["-o", "x", "--help"], ["a", "b", "-h"]):
            self.assertIn(b"Usage:", self.run_tool(*args).out)

    def test_no_line_is_wider_than_79_columns(self):
        for args in (["--help"], *([command, "--help"] for command in COMMANDS)):
            for line in self.convert(*args).out.decode().splitlines():
                self.assertLessEqual(len(line), 79, line)

    def test_help_shows_no_internals(self):
        for args in (["--help"], *([command, "--help"] for command in COMMANDS)):
            text = self.convert(*args).out.decode()
            self.assertNotRegex(text, r"\{false\}|\{true\}|TEXT|UINT|REQUIRED|:INT")
            self.assertNotIn("\n\n\n", text)

    def test_help_of_a_command_tells_of_that_command(self):
        whole = self.convert("--help").out.decode()
        for command in COMMANDS:
            usage = re.search(r"(?m)^Usage: (.*)$", self.convert(command, "--help").out.decode())
            self.assertTrue(usage[1].startswith(f"vmconvert {command}"), usage[1])
            self.assertIn(f"       {usage[1]}\n", whole)

    def test_version_is_that_of_the_project(self):
        version = re.search(r"project\(vmconvert VERSION ([\d.]+)", (SOURCE / "CMakeLists.txt").read_text())
        self.assertEqual(self.convert("--version").out.decode(), f"vmconvert {version[1]}\n")

    def test_formats(self):
        text = self.convert("formats").out.decode()
        for name in ("qevm", "libvirt-save", "qemu-core", "elf", "raw", "lime"):
            self.assertRegex(text, rf"(?m)^  {name} +\S")
        for codec in ("gzip", "bzip2", "xz", "lzop", "zstd", "lz4"):
            self.assertRegex(text, rf"compressed with.* {codec}\b")

    def test_output_that_cannot_be_written_is_an_error(self):
        for args in (["--help"], ["--version"], ["formats"]):
            with open("/dev/full", "wb") as full:
                result = self.run_tool(*args, stdout=full, code=FAILED)
            self.assertEqual(result.err, b"vmconvert: standard output: write: No space left on device\n")


class WrongCommandLines(Case):
    def setUp(self):
        super().setUp()
        self.small()

    def refuse_usage(self, message: str, *args):
        self.refuse(message + SEE, *args, code=USAGE)

    def test_missing_arguments(self):
        for args in ([], ["-o", "out.raw"], ["", "-o", "out.raw"]):
            self.refuse_usage("INPUT is required", *args)
        for args in (["in.qevm"], ["in.qevm", "--to", "raw"], ["in.qevm", "-o", ""], ["--", "-o"]):
            self.refuse_usage("-o OUTPUT is required", *args)

    def test_option_without_its_value(self):
        for option in ("--output", "--to", "--from", "--threads", "--max-gap", "--below-4g", "--block", "--progress"):
            self.refuse_usage(f"{option} needs a value", "in.qevm", option)
        for option in ("--to", "--from", "--threads", "--max-gap", "--progress"):
            self.refuse_usage(f"{option} needs a value", "in.qevm", "-o", "out.raw", f"{option}=")
        self.refuse_usage("--output needs a value", "in.qevm", "-o")

    def test_unknown_option(self):
        for option in ("--bogus", "--sparse", "-x", "--forc", "-", "--outputx=y"):
            self.refuse_usage(f'unexpected argument "{option}"', "in.qevm", "-o", "out.raw", option)

    def test_second_input(self):
        for args in (["other"], ["--", "other"], ["other", "third"]):
            self.refuse_usage('unexpected argument "other"', "in.qevm", "-o", "out.raw", *args)

    def test_option_given_twice(self):
        args = ["-o", "out.raw", "--to", "raw", "--threads", "1"]
        for option, value in {"--output": "b.raw", "--to": "elf", "--threads": "2"}.items():
            self.refuse_usage(f"{option} is given more than once", "in.qevm", *args, option, value)

    def test_formats_takes_no_arguments(self):
        self.refuse_usage('unexpected argument "in.qevm"', "formats", "in.qevm")
        for args in (["in.qevm", "formats"], ["in.qevm", "-o", "out.raw", "formats"]):
            self.refuse_usage("formats: takes no other arguments", *args)

    def test_a_command_comes_first(self):
        for args in (["in.qevm", "extract", "in.qevm"], ["-v", "extract", "in.qevm", "--screenshot", "a"]):
            self.refuse_usage("extract: comes before all other arguments", *args)
        self.refuse_usage("info: comes before all other arguments", "in.qevm", "info")

    def test_a_file_that_is_called_like_a_command(self):
        for command in ("info", "extract", "formats"):
            self.small(command)
            self.convert("./" + command, "-o", command + ".raw")
            self.assertIn(b"pc-i440fx", self.convert("info", command).out)

    def test_info_without_its_arguments(self):
        self.refuse_usage("INPUT is required", "info")
        self.refuse_usage("INPUT is required", "info", "--json")
        self.refuse_usage('unexpected argument "-o"', "info", "in.qevm", "-o", "out.raw")
        self.refuse_usage('unexpected argument "--force"', "info", "in.qevm", "--force")

    def test_extract_without_its_arguments(self):
        self.refuse_usage("INPUT is required", "extract")
        self.refuse_usage("INPUT is required", "extract", "--screenshot", "a.png")
        self.refuse_usage(
            "--config, --vmdesc, --screenshot, --all or --list is required", "extract", "in.qevm"
        )
        self.refuse_usage(
            'extract: "a" is given for two outputs', "extract", "in.qevm", "--config", "a", "--vmdesc", "a"
        )
        self.refuse_usage(
            "--list: needs standard output for itself", "extract", "in.qevm", "--list", "--config", "-"
        )
        self.refuse_usage("--screenshot needs a value", "extract", "in.qevm", "--screenshot")
        self.refuse_usage('unexpected argument "-o"', "extract", "in.qevm", "-o", "out.raw")
        self.refuse_usage('unexpected argument "formats"', "extract", "in.qevm", "formats")

    def test_unknown_formats(self):
        self.refuse(
            'unknown output format "vmdk" (there are: elf, raw, lime)',
            *["in.qevm", "-o", "out.raw", "--to", "vmdk"],
            code=USAGE,
        )
        self.refuse(
            'unknown input format "ELF" (there are: qevm, libvirt-save, qcow2, elf, qemu-core, kdump, lime, vmware, '
            "vmware-vmem, vmware-panic, xen-core, xen-save, raw)",
            *["in.qevm", "-o", "out.raw", "--from", "ELF"],
            code=USAGE,
        )

    def test_wrong_values(self):
        size = "--{}: \"{}\" is not a size (as in 3G, 512M, 0x80000000)"
        block = '--{}: "{}" is not NAME=ADDRESS with an address on a 64 KiB border'
        for option, message, values in (
            ("threads", '--{}: "{}" is not a number from 1 to 64', "0 65 -1 x 1.5 1k 99999999999999999999"),
            ("progress", "--{}: {} not in {{auto,never,always}}", "sometimes ALWAYS"),
            ("max-gap", size, "x -1 1X 1KK 99999999999999999999 16777216T 0x 1.5G"),
            ("below-4g", size, "x 1Q -0"),
            ("block", block, "x = =0 a= a=1 a=x a=4096 a=0x10001 a=-65536"),
        ):
            for value in values.split():
                with self.subTest(option=option, value=value):
                    self.refuse_usage(
                        message.format(option, value), "in.qevm", "-o", "out.raw", f"--{option}={value}"
                    )

    def test_snapshot_of_an_input_that_holds_one_state(self):
        self.refuse(
            "in.qevm: --snapshot makes no sense for qevm, which holds one state",
            *["in.qevm", "-o", "out.raw", "--snapshot", "1"],
            code=USAGE,
        )
        self.refuse_usage("--snapshot: needs an ID or a NAME", "in.qevm", "-o", "out.raw", "--snapshot", "")

    def test_address_that_makes_no_sense_for_the_input(self):
        self.refuse(
            "--below-4g 1 TiB is not a multiple of 64 KiB within main RAM (2 MiB) and 4 GiB",
            *["in.qevm", "-o", "out.raw", "--below-4g", "1T"],
            code=USAGE,
        )

    def test_control_characters_of_arguments_are_escaped(self):
        for args in (["--to", "a\n\x1b[31m"], ["--bogus\n\x1b"], ["--threads", "\x1b"], ["--progress", "a\nb"]):
            result = self.run_tool("in.qevm", "-o", "out.raw", *args, code=USAGE)
            self.assertEqual(result.err.count(b"\n"), 1)
            self.assertNotIn(b"\x1b", result.err)


class RightCommandLines(Case):
    def test_spellings_of_options(self):
        stream = self.small()
        for args in (
            ["-oout.raw", "in.qevm"],
            ["--output=out.raw", "in.qevm"],
            ["--to=raw", "in.qevm", "-o", "out.raw"],
            ["-qo", "out.raw", "in.qevm"],
            ["--from", "qevm", "-o", "out.raw", "in.qevm", "--threads=3"],
        ):
            with self.subTest(args=args):
                self.convert("-f", *args, code=DONE)
                self.assertRaw("out.raw", stream)
                (self.folder / "out.raw").unlink()


if __name__ == "__main__":
    main()
