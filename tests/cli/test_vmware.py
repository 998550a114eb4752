"""What `info` and `extract` tell of VMware's files."""

import hashlib
import struct
import sys
import zlib

import test_info
from harness import DONE, FAILED, SOURCE, USAGE, Case, main

sys.path.insert(0, str(SOURCE / "tests/real"))
from lab import vmware  # noqa: E402

_CONFIGURATION = b'.encoding = "UTF-8"\ndisplayName = "web \xc3\xa4"\nguestOS = "debian12-64"\n'
_LIST = b"""\
.encoding = "UTF-8"
snapshot0.uid = "7"
snapshot0.filename = "web-Snapshot1.vmsn"
snapshot0.displayName = "before \x1b[31m"
snapshot0.description = "first"
snapshot0.createTimeHigh = "300237"
snapshot0.createTimeLow = "-1952402371"
snapshot1.filename = "../../etc/passwd"
"""
_RAM = 2 * vmware.MIB


def _png(width: int) -> bytes:
    """By the PNG specification: one row of grey pixels."""
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(width + 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class VMware(Case):
    def setUp(self):
        super().setUp()
        self.built = vmware.Checkpoint().product(_RAM)
        self.built.value("vm.powerOnTimeStamp.clientData", 1289510438, width=8)
        self.built.group("Snapshot").block("cfgFile", _CONFIGURATION).block("nvramFile", b"nvram")
        self.built.group("MKSVMX").block("imageData", _png(5) + b"more").block("other", _png(6))
        self.save()

    def save(self, name: str = "web-Snapshot1"):
        self.built.write(self.folder / f"{name}.vmsn")
        self.write(f"{name}.vmem", bytes(_RAM))

    def content(self, name) -> bytes:
        return (self.folder / name).read_bytes()

    def extract(self, *args, **options):
        return self.run_tool("extract", "-q", "web-Snapshot1.vmsn", *args, **options)


class Extract(VMware):
    def test_by_name(self):
        self.extract("--screenshot", "a.png", "--config", "a.vmx")
        self.assertEqual((self.content("a.png"), self.content("a.vmx")), (_png(5), _CONFIGURATION))

    def test_everything(self):
        self.extract("--all", "all")
        found = {path.name: path.read_bytes() for path in (self.folder / "all").iterdir()}
        self.assertEqual(found.pop("Checkpoint.ProductName.bin"), b"VMware ESX".ljust(256, b"\0"))
        self.assertEqual(found.pop("Checkpoint.VersionNumber.bin"), b"4.1.0".ljust(256, b"\0"))
        self.assertEqual(found, {"screenshot.png": _png(5), "screenshot-2.png": _png(6),
                                 "guest.vmx": _CONFIGURATION, "guest.nvram": b"nvram"})

    def test_list(self):
        lines = self.extract("--list").out.decode().splitlines()
        self.assertEqual(
            [(line.split()[0], line.split()[3]) for line in lines],
            [("--screenshot", "screenshot.png"), ("--all", "screenshot-2.png"),
             ("--all", "Checkpoint.ProductName.bin"), ("--all", "Checkpoint.VersionNumber.bin"),
             ("--config", "guest.vmx"), ("--all", "guest.nvram")],
        )

    def test_from_the_memory_beside(self):
        self.run_tool("extract", "-q", "web-Snapshot1.vmem", "--config", "-")
        self.run_tool("extract", "-q", "web-Snapshot1.vmem", "--screenshot", "b.png")
        self.assertEqual(self.content("b.png"), _png(5))

    def test_without_memory(self):
        (self.folder / "web-Snapshot1.vmem").unlink()
        self.extract("--config", "a.vmx")
        self.assertEqual(self.content("a.vmx"), _CONFIGURATION)

    def test_lacking(self):
        vmware.Checkpoint().product(_RAM).write(self.folder / "bare.vmsn")
        self.write("bare.vmem", bytes(_RAM))
        for option, what in (("--config", "configuration"), ("--screenshot", "screen"),
                             ("--vmdesc", "device description")):
            self.refuse(f"bare.vmsn: holds no {what}", "extract", "-q", "bare.vmsn", option, "out", code=FAILED)

    def test_hostile_names_and_many_files(self):
        state = vmware.Checkpoint().product(_RAM)
        for name in ("../../x", "/etc/passwd", "..", "-rf", "%s%n", "\x1b[31m", "/" * 200, "a b"):
            state.group(name[:64]).block(name, name.encode())
            state.block(name, b"twin")
        state.group("many")
        for number in range(2000):
            state.block("b", struct.pack("<I", number), number)
        state.write(self.folder / "bad.vmsn")
        before = self.names()
        self.run_tool("extract", "-q", "bad.vmsn", "--all", "all")
        self.assertEqual(self.names(), before | {"all"})
        self.assertEqual({path.name for path in self.top.iterdir()}, {"folder", "tmp"})
        found = list((self.folder / "all").iterdir())
        self.assertEqual(len(found), 2 + 16 + 2000)
        for path in found:
            self.assertTrue(path.is_file())
            self.assertRegex(path.name, r"^[A-Za-z%][ -~]*$")
        self.assertEqual(self.content("all/many.b.1999.bin"), struct.pack("<I", 1999))


class Info(VMware, test_info.Info):
    def guest(self, *args) -> dict:
        return self.info("-q", "web-Snapshot1.vmsn", *args)["guest"]

    def test_facts(self):
        guest = self.guest()
        self.assertEqual(guest["machine"], "VMware ESX 4.1.0")
        self.assertIsNone(guest["records"])
        facts = guest["facts"]
        self.assertEqual(facts["vmware.powered_on"], ["2010-11-11T21:20:38Z"])
        self.assertEqual(facts["vmware.region"], ["0x0-0x200000 is 0x0-0x200000 of web-Snapshot1.vmem"])
        self.assertEqual(facts["vmx.name"], ["web \xe4"])

    def test_list_of_snapshots(self):
        self.assertNotIn("snapshot.name", self.guest()["facts"])
        self.write("Web.VMSD", _LIST)
        self.write("another.vmsd", b"\x1f\x8b damaged")
        facts = self.guest()["facts"]
        self.assertEqual(facts["snapshot.list"], ["Web.VMSD"])
        self.assertEqual(facts["snapshot.id"], ["7"])
        self.assertEqual(facts["snapshot.name"], ["before \x1b[31m"])
        self.assertEqual(facts["snapshot.description"], ["first"])
        self.assertEqual(facts["snapshot.date"], ["2010-11-11T21:20:38Z"])
        self.assertNotIn(b"\x1b", self.run_tool("info", "-q", "web-Snapshot1.vmsn").out)

    def test_a_list_of_snapshots_that_is_too_large_is_left_aside(self):
        self.write("Web.vmsd", _LIST.ljust(300000, b"\n"))
        self.assertNotIn("snapshot.name", self.guest()["facts"])

    def test_tags(self):
        records = self.guest("--tags")["records"]
        self.assertEqual(records["file"], "web-Snapshot1.vmsn")
        self.assertEqual([group["name"] for group in records["groups"]], ["Checkpoint", "Snapshot", "MKSVMX"])
        state = self.content("web-Snapshot1.vmsn")
        product = records["groups"][0]["tags"][1]
        offset = state.index(b"VMware ESX\0")
        self.assertEqual(product, {
            "name": "ProductName", "indices": [], "offset": hex(offset), "size": 256, "stored_size": 256,
            "packed": False, "number": None, "text": "VMware ESX", "bytes": None})
        memory = records["groups"][0]["tags"][4]
        self.assertEqual((memory["name"], memory["number"], memory["size"]), ("memSize", "0x2", 4))
        picture = records["groups"][2]["tags"][0]
        self.assertEqual((picture["text"], picture["bytes"]), (None, _png(5)[:64].hex()))

    def test_hexdump(self):
        picture = self.guest("--hexdump")["records"]["groups"][2]["tags"][0]
        self.assertEqual(picture["bytes"], (_png(5) + b"more")[:256].hex())
        text = self.run_tool("info", "-q", "--hexdump", "web-Snapshot1.vmsn").out.decode()
        self.assertIn("\n        0  89 50 4e 47 0d 0a 1a 0a 00 00 00 0d 49 48 44 52  .PNG........IHDR\n", text)
        self.assertIn("  MKSVMX  ", text)

    def test_tags_of_the_memory_beside(self):
        out = self.info("-q", "--tags", "web-Snapshot1.vmem")
        self.assertEqual(out["guest"]["records"]["file"].rpartition("/")[2], "web-Snapshot1.vmsn")

    def test_tags_of_memory_alone(self):
        (self.folder / "web-Snapshot1.vmsn").unlink()
        result = self.run_tool("info", "--tags", "web-Snapshot1.vmem")
        self.assertIn(b"has no tags: they are in its state, which is not here", result.err)

    def test_tags_of_another_format(self):
        self.small()
        for option in ("--tags", "--hexdump"):
            self.refuse("in.qevm: --tags or --hexdump makes no sense for qevm", "info", "in.qevm", option, code=USAGE)

    def test_hostile_names(self):
        state = vmware.Checkpoint()
        for name in ("\x1b[31mred", "a\nb", "%s%n", '"', "\\", "x" * 255):
            state.group(name[:64]).value(name, 5).block(name, name.encode(), 1, 2, 0xFFFFFFFF)
        state.write(self.folder / "bad.vmsn")
        for option in ("--tags", "--hexdump"):
            self.text("-q", "bad.vmsn", option)
            self.info("-q", "bad.vmsn", option)

    def test_damage(self):
        state = self.content("web-Snapshot1.vmsn")
        for size in range(0, len(state), 37):
            self.write("cut.vmsn", state[:size])
            with self.start("info", "--hexdump", "cut.vmsn") as process:
                out, err = process.communicate()
            self.assertIn(process.returncode, (DONE, FAILED), err)
            self.assertNotIn(b"Sanitizer", err)
            self.assertNotIn(b"runtime error", err)


class Sample(Case):
    def test_picture_in_the_documents_is_what_the_sample_holds(self):
        sample = SOURCE / "samples/pc-1m-firmware.vmss.xz"
        shown = (SOURCE / "docs/images/pc-1m-firmware.png").read_bytes()
        self.assertEqual(self.convert("extract", sample, "--screenshot", "-").out, shown)
        found = hashlib.sha256(self.convert("extract", sample, "--config", "-").out).hexdigest()
        self.assertIn(found, (SOURCE / "samples/EXPECTED").read_text())


if __name__ == "__main__":
    main()
