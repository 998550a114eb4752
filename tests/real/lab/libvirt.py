"""Captures made by libvirt: virsh save, managedsave and dump.

A libvirtd of our own runs as the user `nobody`, unprivileged, with its configuration, sockets
and state in a temporary directory. A system libvirtd on the same machine never notices, and
no systemd, cgroup or /etc/libvirt is needed. Formats that Debian 12's libvirt does not know are
saved by trixie's, whose unpacked packages it is run in.
"""

import os
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from . import initramfs, paths
from .guest import GuestFailed

_USER, _GROUP = "nobody", "nogroup"
_DOMAIN = "vmconvert-lab"
_READY_SECONDS = 240

# The private daemon cannot rely on virtlogd, cgroups or security drivers.
_QEMU_CONF = """\
security_driver = "none"
stdio_handler = "file"
remember_owner = 0
cgroup_controllers = []
namespaces = []
save_image_format = "{format}"
dump_image_format = "{format}"
"""

_DOMAIN_XML = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>256</memory>
  <vcpu>2</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{directory}/vmlinuz</kernel>
    <initrd>{directory}/initramfs.cpio</initrd>
    <cmdline>console=ttyS0 quiet lab.fill=64</cmdline>
  </os>
  <features><acpi/><apic/><vmcoreinfo state='on'/></features>
  <cpu mode='maximum'><feature policy='disable' name='la57'/></cpu>
  <devices>
    <emulator>{emulator}</emulator>
    <serial type='file'><source path='{directory}/console.log'/><target port='0'/></serial>
    <video><model type='vga'/></video>
    <memballoon model='none'/>
  </devices>
</domain>
"""

# Runs a command in trixie's root as `nobody`, with the directory of the daemon at the same place. What it mounts
# goes with it.
_IN_TRIXIE = """\
root=$1 directory=$2
shift 2
mkdir -p "$root$directory"
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
mount --bind /sys "$root/sys"
mount --bind "$directory" "$root$directory"
exec chroot --userspec=nobody:nogroup "$root" bash -ec 'cd "$0"; exec "$@"' "$directory" "$@"
"""

# Head of a libvirt save image: magic, then version, data_len, was_running, format, cookieOffset.
_SAVE_HEADER = struct.Struct("<16s5I56x")
_FORMAT_FIELD = 28
_FORMAT_RAW, _FORMAT_ZSTD = 0, 5


class _PrivateLibvirt:
    """A private libvirtd with one suspended guest; use as a context manager."""

    def __init__(self, image_format: str):
        self._format = image_format
        self._daemon = None
        self._trixie = paths.lab_file("trixie") if image_format == "sparse" else None

    def __enter__(self) -> "_PrivateLibvirt":
        # In /var/tmp, because `nobody` cannot enter a root-only work directory.
        self.directory = Path(tempfile.mkdtemp(prefix="vmconvert-lab-", dir="/var/tmp"))
        try:
            self._prepare()
            self._start_daemon()
            self._start_guest()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._daemon is not None:
            self._virsh("destroy", _DOMAIN, check=False)
            self._daemon.terminate()
            self._daemon.wait()
        if self._trixie is not None:
            (self._trixie / self.directory.relative_to("/")).rmdir()  # the mount point
        shutil.rmtree(self.directory)

    def _prepare(self):
        config = self.directory / "config/libvirt"
        config.mkdir(parents=True)
        (self.directory / "runtime").mkdir()
        (config / "qemu.conf").write_text(_QEMU_CONF.format(format=self._format))
        shutil.copy(paths.lab_file("kernel/vmlinuz"), self.directory / "vmlinuz")
        initramfs.build(self.directory / "initramfs.cpio")
        (self.directory / "domain.xml").write_text(_DOMAIN_XML.format(
            name=_DOMAIN, directory=self.directory, emulator=self._program("qemu-system-x86_64")))
        for path in (self.directory, *self.directory.rglob("*")):
            shutil.chown(path, _USER, _GROUP)
        self._environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": str(self.directory),
            "XDG_CONFIG_HOME": str(self.directory / "config"), "XDG_CACHE_HOME": str(self.directory / "cache"),
            "XDG_DATA_HOME": str(self.directory / "data"), "XDG_RUNTIME_DIR": str(self.directory / "runtime")}

    def _program(self, name: str) -> str:
        return paths.program(name) if self._trixie is None else f"/usr/bin/{name}"

    def _command(self, name: str, *arguments: str) -> list[str]:
        if self._trixie is None:
            return [paths.program(name), *arguments]
        return [paths.program("unshare"), "--mount", "sh", "-ec", _IN_TRIXIE, "sh", str(self._trixie),
                str(self.directory), name, *arguments]

    def _as_nobody(self) -> dict:
        options = {"env": self._environment, "cwd": self.directory, "stdin": subprocess.DEVNULL}
        if self._trixie is None:  # else chroot changes the user
            options |= {"user": _USER, "group": _GROUP, "extra_groups": []}
        return options

    def _start_daemon(self):
        with (self.directory / "libvirtd.log").open("wb") as log:
            self._daemon = subprocess.Popen(self._command("libvirtd"), stdout=log, stderr=log, **self._as_nobody())
        socket = self.directory / "runtime/libvirt/libvirt-sock"
        self._wait(socket.exists, "libvirtd's socket")

    def _virsh(self, *arguments: str, check: bool = True) -> str:
        command = self._command("virsh", "-q", "-c", "qemu:///session", *arguments)
        result = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_nobody())
        if check and result.returncode != 0:
            raise GuestFailed(f"virsh {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout

    def _wait(self, condition, what: str):
        deadline = time.monotonic() + _READY_SECONDS
        while not condition():
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                log = (self.directory / "libvirtd.log").read_text(errors="replace")
                raise GuestFailed(f"waiting for {what}: {log[-800:]}")
            time.sleep(0.1)

    def _start_guest(self):
        console = self.directory / "console.log"
        self._virsh("define", str(self.directory / "domain.xml"))
        self._virsh("start", _DOMAIN)
        self._wait(lambda: console.exists() and "GUEST-READY" in console.read_text(errors="replace"), "the guest")
        self._virsh("suspend", _DOMAIN)

    def dump_reference(self, capture: Path):
        """QEMU's own view of the suspended guest, as in capture.py."""
        self._virsh("dump", "--memory-only", _DOMAIN, str(self.directory / "ref.elf"))
        self._take("ref.elf", capture / "ref.elf")
        shutil.copy(self.directory / "console.log", capture / "console.log")
        for name, command in (("registers.txt", "info registers -a"), ("mtree.txt", "info mtree -f")):
            (capture / name).write_text(self._virsh("qemu-monitor-command", _DOMAIN, "--hmp", command))

    def _take(self, name: str, target: Path):
        shutil.move(self.directory / name, target)
        os.chown(target, os.getuid(), os.getgid())

    def save(self, target: Path, *options: str):
        self._virsh("save", _DOMAIN, str(self.directory / "save"), *options)
        target.with_name("domain.xml").write_text(self._virsh("save-image-dumpxml", str(self.directory / "save")))
        self._take("save", target)

    def managed_save(self, target: Path):
        self._virsh("managedsave", _DOMAIN)
        self._take(f"config/libvirt/qemu/save/{_DOMAIN}.save", target)

    def dump(self, target: Path):
        """`virsh dump` without --memory-only: a bare QEVM stream, compressed if so configured."""
        self._virsh("dump", _DOMAIN, str(self.directory / "dump"))
        self._take("dump", target)


def _capture(image_format: str, directory: Path, action):
    directory.mkdir(parents=True, exist_ok=True)
    if image_format not in ("raw", "sparse"):
        paths.program(image_format)
    with _PrivateLibvirt(image_format) as host:
        host.dump_reference(directory)
        action(host, directory / "save.qevm")


def _compress_with_zstd(save: Path):
    """Turns a raw save image into what newer libvirt writes with save_image_format = "zstd"."""
    with save.open("r+b") as image:
        magic, _, data_length, _, image_format, _ = _SAVE_HEADER.unpack(image.read(_SAVE_HEADER.size))
        if magic != b"LibvirtQemudSave" or image_format != _FORMAT_RAW:
            raise GuestFailed(f"{save}: not a raw libvirt save image")
        body = _SAVE_HEADER.size + data_length
        image.seek(body)
        packed = subprocess.run([paths.program("zstd"), "-c"], input=image.read(), stdout=subprocess.PIPE,
                                check=True).stdout
        image.seek(body)
        image.write(packed)
        image.truncate()
        image.seek(_FORMAT_FIELD)
        image.write(struct.pack("<I", _FORMAT_ZSTD))


def capture_save(image_format: str, directory: Path):
    """`virsh save` with save_image_format set; Debian 12's libvirt does not know zstd yet."""
    if image_format == "zstd":
        _capture("raw", directory, _PrivateLibvirt.save)
        _compress_with_zstd(directory / "save.qevm")
    else:
        _capture(image_format, directory, _PrivateLibvirt.save)


def capture_sparse(directory: Path, options: tuple[str, ...] = ()):
    """`virsh save` with save_image_format "sparse", by trixie's libvirt: a mapped-ram stream."""
    _capture("sparse", directory, lambda host, target: host.save(target, *options))


def capture_managed_save(directory: Path):
    """`virsh managedsave`."""
    _capture("raw", directory, _PrivateLibvirt.managed_save)


def capture_dump(image_format: str, directory: Path):
    """`virsh dump` with dump_image_format set."""
    _capture(image_format, directory, _PrivateLibvirt.dump)
