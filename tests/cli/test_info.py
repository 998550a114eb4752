"""What `vmconvert info` shows, for people and for programs."""

import functools
import gzip
import json
import struct
import subprocess

import streams
from harness import DONE, FAILED, LOST, SOURCE, Case, main

_PYTHON = "/usr/bin/python3"  # to which Debian's python3-jsonschema belongs
_VALIDATE = """
import json, sys
import jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
for document in json.load(sys.stdin):
    jsonschema.Draft202012Validator(schema).validate(document)
"""
_XML = b"""<domain type='kvm'><name>web &amp; mail</name><uuid>7532eeca-4708-49e5-bc0a-86d25e89f28f</uuid>
<title>Der Webserver \xc3\xa4</title><description>two
lines</description><vcpu placement='static'>4</vcpu>
<os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os></domain>"""
# 2026-02-28 23:59:58 in BCD, 24 hours.
_DATE = {0x00: 0x58, 0x02: 0x59, 0x04: 0x23, 0x07: 0x28, 0x08: 0x02, 0x09: 0x26, 0x0B: 0x02, 0x32: 0x20}
# Names that a terminal, a shell or a JSON reader might stumble over.
_HOSTILE = [b"\x1b[31mred", b"\x9b31m", b"\xc2\x9b31m", b"../../etc/passwd", b"a\nb\r\tc", b'"quoted\\"', b"\xff\xfe\x80",
            b"\xed\xa0\x80", b"\xe2\x80\xae", b"%s%n", b"\x7f", b" ", b"x" * 255, b"\\x41", "Gr\u00fc\u00dfe".encode()]


@functools.cache
def _has_jsonschema() -> bool:
    return subprocess.run([_PYTHON, "-c", "import jsonschema"], capture_output=True).returncode == 0


class Schema(Case):
    def test_can_be_checked(self):
        """The other tests check the schema if they can; this one tells if they cannot."""
        if not _has_jsonschema():
            self.skipTest(f"needs the module jsonschema of {_PYTHON}")


class Info(Case):
    def setUp(self):
        super().setUp()
        self.documents = []

    def info(self, *args, **options) -> dict:
        """The JSON of a run; it keeps to the schema, which is checked at the end of the test."""
        out = self.run_tool("info", "--json", *args, **options).out
        self.assertTrue(out.isascii())
        self.documents.append(json.loads(out))
        return self.documents[-1]

    def tearDown(self):
        if self.documents and _has_jsonschema():
            schema = SOURCE / "docs/info.schema.json"
            command = [_PYTHON, "-c", _VALIDATE, schema]
            done = subprocess.run(command, input=json.dumps(self.documents).encode(), capture_output=True)
            self.assertEqual(done.returncode, 0, done.stderr.decode()[-2000:])

    def text(self, *args, **options) -> str:
        """The text of a run, which a terminal can show."""
        out = self.run_tool("info", *args, **options).out
        for byte in out:
            self.assertTrue(byte == 0x0A or 0x20 <= byte < 0x7F or byte >= 0x80, f"byte {byte:#x}")
        text = out.decode()
        for line in text.splitlines():
            self.assertTrue(len(line) <= 79 or max(map(len, line.split())) > 40, line)
            self.assertEqual(line, line.rstrip())
        return text


class Stream(Info):
    def test_small(self):
        stream = self.small()
        info = self.info("in.qevm")
        self.assertEqual(info["schema"], "vmconvert-info/1")
        self.assertEqual(info["file"], {"name": "in.qevm", "size": len(stream.bytes)})
        self.assertEqual(info["format"]["name"], "qevm")
        self.assertIs(info["complete"], True)
        self.assertIsNone(info["snapshots"])
        guest = info["guest"]
        self.assertEqual((guest["machine"], guest["arch"], guest["byte_order"]), ("pc-i440fx-7.2", "x86_64", "little"))
        seen = [{"begin": "0x0", "end": "0x200000"}]
        self.assertEqual(guest["memory"]["size"], 2 << 20)
        self.assertEqual(guest["memory"]["page_size"], 4096)
        self.assertEqual(guest["memory"]["extents"], seen)
        self.assertEqual(guest["blocks"], [{"name": "pc.ram", "size": 2 << 20, "guest": seen}])
        self.assertEqual(guest["devices"], [{"name": "mc146818rtc", "instance": 0, "version": 3, "size": 188}])
        self.assertEqual(guest["facts"], {"qevm.version": ["3"]})
        self.assertEqual((guest["vcpus"], guest["kernel"], guest["attachments"]), ([], None, []))

    def test_configuration(self):
        capabilities = struct.pack(">I", 1) + b"\x0epostcopy-setup"
        parts = {"configuration/capabilities": capabilities, "configuration/uuid": bytes(range(16))}
        self.write("in.qevm", streams.Stream(2 << 20, {0: streams.page(1)}, parts=parts).bytes)
        facts = self.info("in.qevm")["guest"]["facts"]
        self.assertEqual(facts["machine.capability"], ["postcopy-setup"])
        self.assertEqual(facts["machine.uuid"], ["00010203-0405-0607-0809-0a0b0c0d0e0f"])

    def test_date_of_the_guest(self):
        for changes, expected in (
            ({}, "2026-02-28T23:59:58"),
            ({0x32: 0x19, 0x09: 0x99}, "1999-02-28T23:59:58"),
            ({0x07: 0x29}, None),  # no leap year
            ({0x09: 0x24, 0x07: 0x29}, "2024-02-29T23:59:58"),
            ({0x32: 0x20, 0x09: 0x00, 0x07: 0x29}, "2000-02-29T23:59:58"),
            ({0x0B: 0x06, 0x32: 20, 0x09: 26, 0x08: 12, 0x07: 31, 0x04: 0, 0x02: 1, 0x00: 2}, "2026-12-31T00:01:02"),
            ({0x0B: 0x00, 0x04: 0x92}, "2026-02-28T12:59:58"),  # 12 hours, afternoon
            ({0x0B: 0x00, 0x04: 0x12}, "2026-02-28T00:59:58"),
            ({0x0B: 0x00, 0x04: 0x81}, "2026-02-28T13:59:58"),
            ({0x0B: 0x00, 0x04: 0x00}, None),
            ({0x00: 0x60}, None),
            ({0x04: 0x24}, None),
            ({0x08: 0x13}, None),
            ({0x08: 0x00}, None),
            ({0x07: 0x00}, None),
            ({0x09: 0x1A}, None),
            ({0x32: 0x00}, None),
        ):
            with self.subTest(changes=changes):
                self.write("in.qevm", streams.Stream(2 << 20, {}, cmos=_DATE | changes).bytes)
                self.assertEqual(self.info("in.qevm")["guest"]["facts"].get("guest.rtc"), expected and [expected])

    def test_compressed_input_and_standard_input(self):
        stream = self.small()
        self.assertEqual(self.info("-", input=stream.bytes)["file"], {"name": "standard input", "size": len(stream.bytes)})

    def test_options_of_the_input(self):
        self.write("in.qevm", streams.Stream(2 << 20, {0: streams.page(1)}, blocks={b"extra": 1 << 20}).bytes)
        blocks = self.info("in.qevm", "--from", "qevm", "--block", "extra=0x10000000")["guest"]["blocks"]
        self.assertEqual(blocks[1]["guest"], [{"begin": "0x10000000", "end": "0x10100000"}])

    def test_messages_go_to_standard_error(self):
        self.small()
        result = self.run_tool("info", "-v", "in.qevm")
        self.assertIn(b"machine type pc-i440fx-7.2", result.err)
        self.assertNotIn(b"vmconvert:", result.out)

    def test_large_guest(self):
        self.write("in.qevm", streams.sparse(3 << 30).bytes)
        info = self.info("in.qevm")
        self.assertEqual(info["guest"]["memory"]["size"], 3 << 30)


class Text(Info):
    def test_small(self):
        self.small()
        text = self.text("in.qevm")
        for line in (
            "File          in.qevm",
            "Machine       pc-i440fx-7.2",
            "Architecture  x86_64, little-endian",
            "  qevm.version  3",
            "  pc.ram       2 MiB  0x0-0x200000",
            "  mc146818rtc instance 0, version 3, 188 bytes",
        ):
            self.assertIn(f"\n{line}\n", f"\n{text}")

    def test_domain(self):
        save = streams.libvirt_save(streams.small().bytes, _XML, b"<cookie/>")
        self.write("in.save", save)
        text = self.text("in.save")
        for line in (
            "  domain.name          web & mail",
            "  domain.title         Der Webserver \u00e4",
            r'  domain.description   "two\x0alines"',
            "  libvirt.was_running  yes",
            "  libvirt.cookie       yes",
            "  domain.xml  " + f"{len(_XML)} bytes, configuration",
        ):
            self.assertIn(f"\n{line}\n", text)

    def test_long_text_is_wrapped(self):
        xml = b"<domain><name>n</name><title>" + b"word " * 100 + b"</title></domain>"
        self.write("in.save", streams.libvirt_save(streams.small().bytes, xml))
        self.assertEqual(self.text("in.save").count("word"), 100)


class Libvirt(Info):
    def test_facts(self):
        self.write("in.save", streams.libvirt_save(streams.small().bytes, _XML, b"<cookie/>"))
        info = self.info("in.save")
        self.assertEqual(info["format"]["name"], "libvirt-save")
        self.assertEqual(
            info["guest"]["facts"],
            {
                "domain.arch": ["x86_64"],
                "domain.description": ["two\nlines"],
                "domain.machine": ["pc-i440fx-7.2"],
                "domain.name": ["web & mail"],
                "domain.title": ["Der Webserver \u00e4"],
                "domain.type": ["kvm"],
                "domain.uuid": ["7532eeca-4708-49e5-bc0a-86d25e89f28f"],
                "domain.vcpus": ["4"],
                "libvirt.cookie": ["yes"],
                "libvirt.format": ["raw"],
                "libvirt.version": ["2"],
                "libvirt.was_running": ["yes"],
                "qevm.version": ["3"],
            },
        )
        self.assertEqual(
            info["guest"]["attachments"],
            [
                {"kind": "configuration", "name": "domain.xml", "media_type": "text/xml", "size": len(_XML)},
                {"kind": "other", "name": "cookie.xml", "media_type": "text/xml", "size": len(b"<cookie/>")},
            ],
        )

    def test_neither_cookie_nor_running(self):
        self.write("in.save", streams.libvirt_save(streams.small().bytes, _XML, was_running=0))
        guest = self.info("in.save")["guest"]
        self.assertEqual(guest["facts"]["libvirt.was_running"], ["no"])
        self.assertEqual(guest["facts"]["libvirt.cookie"], ["no"])
        self.assertEqual([item["name"] for item in guest["attachments"]], ["domain.xml"])

    def test_xml_that_does_not_parse_is_still_there(self):
        self.write("in.save", streams.libvirt_save(streams.small().bytes, b"<domain><name>x"))
        info = self.info("in.save")
        self.assertNotIn("domain.name", info["guest"]["facts"])
        self.assertEqual(info["guest"]["attachments"][0]["size"], len(b"<domain><name>x"))
        self.assertIn("does not parse", info["warnings"][0])


class Hostile(Info):
    def test_names_of_blocks_devices_and_files(self):
        for number, name in enumerate(_HOSTILE):
            with self.subTest(name=name):
                block = b"/rom@" + name[:250]  # a plain name might be guest memory
                stream = streams.Stream(2 << 20, {0: streams.page(1)}, blocks={block: 4096},
                                        device=name if name.isascii() and name.decode().isprintable() else b"")
                self.write(f"in{number}", stream.bytes)
                shown = self.info(f"in{number}")["guest"]["blocks"][1]["name"]
                self.assertEqual(shown, block.decode(errors="backslashreplace"))
                self.text(f"in{number}")
                if b"/" not in name and len(name) < 255:
                    path = self.write(name, stream.bytes)
                    self.assertEqual(self.info(path.name)["file"]["name"], name.decode(errors="backslashreplace"))
                    self.text(path.name)

    def test_text_of_the_domain(self):
        for text in (b"&#27;[31m", b"&#x9b;31m", b"\xff\xfe", b"a\xc2\x9bb", b"</title><title>second", b"\xe2\x80\xae"):
            with self.subTest(text=text):
                xml = b"<domain><name>n</name><title>" + text + b"</title></domain>"
                self.write("in.save", streams.libvirt_save(streams.small().bytes, xml))
                self.info("in.save")
                self.text("in.save")


class Damaged(Info):
    def test_refused_without_salvage(self):
        stream = self.small()
        self.write("cut", stream.bytes[: stream.pages_end])
        self.refuse("cut: offset *", "info", "cut", code=FAILED)
        self.refuse("cut: offset *", "info", "--json", "cut", code=FAILED)

    def test_salvage_shows_what_is_left(self):
        stream = self.small()
        self.write("cut", stream.bytes[: stream.pages_end])
        info = self.info("--salvage", "cut", code=LOST)
        self.assertIs(info["complete"], False)
        self.assertEqual(len(info["losses"]), 2)
        self.assertIn("what follows is lost", info["losses"][0])
        self.assertEqual(info["guest"]["machine"], "pc-i440fx-7.2")
        self.assertEqual(info["guest"]["devices"], [])
        text = self.text("--salvage", "cut", code=LOST)
        self.assertIn("\nLost\n  - ", text)

    def test_loss_while_unpacking(self):
        """A compressed input that ends early; what its format makes of the rest is another loss or none."""
        packed = gzip.compress(self.small().bytes)
        self.write("cut.gz", packed[: len(packed) - 6])
        info = self.info("--salvage", "cut.gz", code=LOST)
        self.assertIs(info["complete"], False)
        self.assertIn("gzip data", info["losses"][0])

    def test_cut_anywhere_is_an_error_or_an_answer(self):
        stream = streams.Stream(2 << 20, {0: streams.page(1)}, device=b"dev", description=b'{"devices": []}')
        save = streams.libvirt_save(stream.bytes, _XML, b"<cookie/>")
        for size in [*range(0, 1200, 31), *range(len(save) - 400, len(save), 13)]:
            self.write("cut", save[:size])
            for args in ([], ["--salvage"]):
                with self.start("info", "--json", "cut", *args) as process:
                    out, err = process.communicate()
                self.assertIn(process.returncode, (DONE, FAILED, LOST), err)
                self.assertNotIn(b"Sanitizer", err)
                self.assertNotIn(b"runtime error", err)
                if process.returncode != FAILED:
                    json.loads(out)


if __name__ == "__main__":
    main()
