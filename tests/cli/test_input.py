"""What may be the input: kinds of files, damaged ones, and that it is only ever read."""

import os
import random
import socket
import subprocess

import streams
from harness import FAILED, LOST, Case, main, needs, needs_root

UNKNOWN = (
    ": is in none of the known formats (tried: qevm, libvirt-save, qcow2, elf, qemu-core, kdump, lime, vmware, "
    "vmware-vmem, vmware-panic, xen-core, xen-save; "
    "what cannot be told by content: --from raw)"
)


class Kinds(Case):
    def test_missing(self):
        for name in ("no", "no/no", "no.qevm"):
            self.refuse(name + ": open: No such file or directory", name, "-o", "out.raw")
        self.write("file", b"")
        self.refuse("file/in: open: Not a directory", "file/in", "-o", "out.raw")

    def test_not_readable(self):
        nobody = self.nobody()
        self.folder.chmod(0o777)
        self.small()
        (self.folder / "in.qevm").chmod(0)
        self.refuse("in.qevm: open: Permission denied", "in.qevm", "-o", "out.raw", **nobody)

    def test_folder(self):
        for name in (".", "..", "/"):
            self.refuse(name + ": read: Is a directory", name, "-o", "out.raw")

    def test_character_devices(self):
        for name in ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty0"):
            if os.path.exists(name):
                self.refuse(name + ": *", name, "-o", "out.raw")
        self.refuse(
            "/dev/zero: is neither a regular file nor a block device nor a pipe", "/dev/zero", "-o", "out.raw"
        )

    def test_socket(self):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(self.folder / "in"))
            self.refuse("in: open: No such device or address", "in", "-o", "out.raw")

    def test_fifo(self):
        stream = streams.small()
        os.mkfifo(self.folder / "in.fifo")
        process = self.start("in.fifo", "-o", "out.raw")
        (self.folder / "in.fifo").write_bytes(stream.bytes)
        self.assertEqual(process.communicate(), (b"", b""))
        self.assertEqual(process.returncode, 0)
        self.assertRaw("out.raw", stream)

    def test_files_without_a_size(self):
        self.refuse("/proc/version: *", "/proc/version", "-o", "out.raw")

    def test_symbolic_link(self):
        stream = self.small()
        os.symlink("in.qevm", self.folder / "link")
        self.convert("link", "-o", "out.raw")
        self.assertRaw("out.raw", stream)

    @needs_root
    @needs("losetup")
    def test_block_device(self):
        stream = streams.small()
        file = self.write("disk", stream.bytes + bytes(-len(stream.bytes) % 512))
        command = ["losetup", "--find", "--show", "--read-only", file]
        attached = subprocess.run(command, capture_output=True, text=True)
        if attached.returncode != 0:
            self.skipTest("losetup does not work here: " + attached.stderr.strip())
        device = attached.stdout.strip()
        try:
            self.convert(device, "-o", "out.raw")
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)
        self.assertRaw("out.raw", stream)


class Content(Case):
    def refuse_content(self, content: bytes, message: str, *args):
        self.write("in", content)
        self.refuse("in" + message, "in", "-o", "out.raw", *args)

    def test_empty(self):
        self.refuse_content(b"", ": is empty")
        self.refuse_content(b"", ": is empty", "--salvage")
        self.refuse("standard input: is empty", "-", "-o", "out.raw", input=b"")

    def test_tiny(self):
        for size in (1, 2, 3, 4, 7, 8, 15, 16, 91, 92):
            for byte in (b"\0", b"\xff", b"Q"):
                self.refuse_content(byte * size, UNKNOWN)

    def test_tiny_with_the_format_given(self):
        for kind in ("qevm", "libvirt-save"):
            for size in (0, 1, 4, 7, 8, 91, 92):
                self.refuse_content(bytes(size), ": *", "--from", kind)

    def test_random(self):
        for seed in range(20):
            self.refuse_content(random.Random(seed).randbytes(100000), UNKNOWN)

    def test_zeros(self):
        self.refuse_content(bytes(1 << 20), UNKNOWN)

    def test_other_formats(self):
        for magic in (b"\x7fELF\x02\x01\x01", b"PAGEDU64", b"#!/bin/sh\n"):
            self.refuse_content(magic + bytes(4096), UNKNOWN)
        for magic in (b"EMiL", b"KDUMP   "):
            self.refuse_content(magic + bytes(4096), ": offset *")

    def test_a_disk_image(self):
        header = b"QFI\xfb\0\0\0\2" + bytes(12) + b"\0\0\0\x10"
        self.refuse_content(header + bytes(4096), ": holds no saved machine state; it is a disk image")

    def test_the_output_of_a_conversion(self):
        stream = self.small()
        for kind in ("elf", "raw", "lime"):
            self.convert("in.qevm", "-o", "first", "--to", kind)
            if kind == "raw":
                self.refuse("first" + UNKNOWN, "first", "-o", "out.raw")
            self.convert("first", "--from", kind, "-o", "out.raw", "-q")
            self.assertRaw("out.raw", stream)
            for name in ("first", "out.raw"):
                (self.folder / name).unlink()

    def test_guest_without_memory(self):
        self.refuse_content(streams.Stream(0, {}).bytes, ": *")


class Truncated(Case):
    """A stream that ends too early anywhere is refused, in one line; salvage never calls it complete."""

    def check(self, content: bytes, ends):
        for end in ends:
            self.write("in", content[:end])
            self.refuse("in: *", "in", "-o", "out.raw")
            result = self.run_tool("in", "-o", "out.raw", "--salvage", code=None)
            self.assertIn(result.code, (FAILED, LOST), f"cut at {end}")
            *before, last = result.err.splitlines()
            self.assertRegex(last, rb"\Avmconvert: lost: in: " if result.code == LOST else rb"\Avmconvert: in: ")
            for line in before:
                self.assertRegex(line, rb"\Avmconvert: lost: in: ")
            self.assertEqual(self.names(), {"in", "out.raw"} if result.code == LOST else {"in"})
            (self.folder / "out.raw").unlink(missing_ok=True)

    def require(self, result, code):
        return super().require(result, result.code if code is None else code)

    def test_in_the_beginning(self):
        stream = streams.small()
        self.check(stream.bytes, range(1, stream.pages_begin + 24))

    def test_in_the_pages(self):
        stream = streams.small()
        self.check(stream.bytes, range(stream.pages_begin + 24, stream.pages_end, 1499))

    def test_in_the_end(self):
        stream = streams.small()
        self.check(stream.bytes, range(stream.pages_end - 24, len(stream.bytes), 3))

    def test_libvirt_header(self):
        content = b"LibvirtQemudSave" + (2).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(68)
        content += b"<domain type='kvm'/>".ljust(64, b"\0") + streams.small().bytes
        self.write("in", content)
        self.run_tool("in", "-o", "out.raw")
        (self.folder / "out.raw").unlink()
        self.check(content, [*range(1, 160), 200, 5000, len(content) - 1])


class Damaged(Case):
    def test_a_flipped_byte_never_crashes(self):
        """Any outcome but a signal, a traceback, or a failure that leaves something."""
        stream = streams.small()
        offsets = [*range(stream.pages_begin + 30), *range(stream.pages_end - 20, len(stream.bytes), 5)]
        for offset in offsets:
            content = bytearray(stream.bytes)
            content[offset] ^= random.Random(offset).randrange(1, 256)
            self.write("in", content)
            options = ["--salvage"] if offset % 2 else []
            result = self.run_tool("in", "-o", "out.raw", "--max-gap", "16M", *options, code=None)
            self.assertIn(result.code, (0, FAILED, LOST), (offset, result.err))
            self.assertEqual((self.folder / "out.raw").exists(), result.code != FAILED)
            if result.code == FAILED:
                self.assertRegex(result.err, rb"vmconvert: in: [^\n]*\n\Z")
            (self.folder / "out.raw").unlink(missing_ok=True)
            self.assertEqual(self.names(), {"in"})

    def require(self, result, code):
        return super().require(result, result.code if code is None else code)


class OnlyRead(Case):
    @needs("strace")
    def test_the_input_is_never_opened_for_writing(self):
        self.small()
        log = self.top / "trace"
        calls = "open,openat,openat2,creat,truncate,rename,renameat,renameat2,unlink,unlinkat,link,linkat,chmod"
        self.convert("in.qevm", "-o", "out.raw", **self.tracing("-o", log, "-e", f"trace={calls}"))
        touched = [line for line in log.read_text().splitlines() if '"in.qevm"' in line]
        self.assertEqual(len(touched), 1, touched)
        self.assertRegex(touched[0], r'openat\(AT_FDCWD, "in\.qevm", O_RDONLY\|')

    @needs("strace")
    def test_read_errors(self):
        self.small()
        trace = self.tracing("-P", self.folder / "in.qevm", "-e", "inject=pread64,preadv:error=EIO:when=3+")
        self.refuse("in.qevm: offset 0x*: read: Input/output error", "in.qevm", "-o", "out.raw", **trace)
        for options in (
            ["-P", self.folder / "in.qevm", "-e", "inject=pread64:error=EINTR:when=1+2"],
            ["-e", "inject=pwritev:error=EINTR:when=1+2"],
        ):
            self.convert("in.qevm", "-f", "-o", "out.raw", **self.tracing(*options))
            self.assertRaw("out.raw", streams.small())

    def test_a_read_only_file_in_a_read_only_folder(self):
        nobody = self.nobody()
        stream = streams.small()
        sub = self.folder / "sub"
        sub.mkdir()
        self.write("sub/in.qevm", stream.bytes).chmod(0o444)
        sub.chmod(0o555)
        self.folder.chmod(0o777)
        self.convert("sub/in.qevm", "-o", "out.raw", **nobody)
        self.assertRaw("out.raw", stream)

    def test_a_file_that_shrinks_meanwhile(self):
        stream = streams.dense(8 << 20)
        file = self.write("in.qevm", stream.bytes)
        os.mkfifo(self.folder / "out.fifo")
        process = self.start("in.qevm", "--to", "raw", "-o", "out.fifo")
        with open(self.folder / "out.fifo", "rb", buffering=0) as fifo:
            fifo.read(4096)
            os.truncate(file, stream.pages_begin + 10000)
            while fifo.read(1 << 20):
                pass
        self.assertRegex(
            process.communicate()[1],
            rb"\Avmconvert: in\.qevm: offset 0x[0-9a-f]+: read: the file ends here \(did it shrink\?\)\n\Z",
        )
        self.assertEqual(process.returncode, FAILED)


if __name__ == "__main__":
    main()
