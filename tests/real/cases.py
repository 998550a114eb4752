"""The table of real-guest tests: which guest, how it is captured, what is checked, and when it runs.

Label `real` is for every change and takes minutes; `real-long` adds combinations that
repeat what the first set already crosses, with more memory or a slower boot.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Callable

import architectures
import conversions
import dumps
import information
import matrix
import process_cores
import screens
import snapshot_checks
import vmware_states
import xen_consumers
import xen_states
from context import Context
from lab import arches, libvirt, paths, process_core, snapshots, xen
from lab.capture import LIVE, PLAIN, STOPPED, Save, capture
from lab.connections import capture_connections
from lab.dumps import Foreign, capture_dumps, capture_foreign
from lab.guest import FIRMWARE, RESET, Machine
from lab.screens import TEXT, VBE, VGA, Display
from lab.screens import capture as capture_screens

_GIB = 1 << 30
_HIGH = 4 * _GIB  # where RAM continues above the PCI hole

REAL, LONG = "real", "real-long"


@dataclass(frozen=True)
class Case:
    """`make_capture(directory)` fills a capture directory, `check(context)` raises what is wrong."""

    name: str
    make_capture: Callable
    check: Callable[[Context], None] = conversions.check_outputs
    label: str = REAL


def _case(name: str, machine: Machine, kind: str = STOPPED, label: str = REAL,
          check: Callable[[Context], None] = conversions.check_outputs, save: Save = PLAIN) -> Case:
    return Case(name, partial(capture, machine, kind, save=save), check, label)


def _all(*checks: Callable[[Context], None]) -> Callable[[Context], None]:
    """Several checks of one capture."""
    def check(context: Context):
        for one in checks:
            one(context)
    return check


_INFORMATION_TOO = _all(conversions.check_outputs, information.check_information)


def _firmware(name: str, machine_type: str, memory: int, *blobs: tuple[int, int],
              check: Callable[[Context], None] = conversions.check_outputs, **options) -> Case:
    """A guest stopped in its firmware, with random data on both sides of every border of its RAM.

    No kernel runs, so this is the cheap way to check where RAM lies on a machine type.
    """
    options.setdefault("state", FIRMWARE)
    options.setdefault("vmcoreinfo", False)
    return _case(name, Machine(type=machine_type, memory=memory, blobs=blobs, **options), check=check)


def _around(below: int, *gpas: int) -> tuple[tuple[int, int], ...]:
    """Blobs for `_firmware`: near the end of low RAM, and at each further address."""
    # SeaBIOS keeps its own data in the last MiB; leave that alone.
    return ((below - (18 << 20), 16), *((gpa, 16) for gpa in gpas))


def _nodes(*sizes: int) -> tuple[str, ...]:
    """NUMA nodes named as libvirt names them, one CPU each; then no block is called pc.ram."""
    arguments: list[str] = []
    for number, size in enumerate(sizes):
        arguments += ["-object", f"memory-backend-ram,id=ram-node{number},size={size}M",
                      "-numa", f"node,nodeid={number},cpus={number},memdev=ram-node{number}"]
    return tuple(arguments)


def _dimms(*sizes: int) -> tuple[str, ...]:
    arguments: list[str] = []
    for number, size in enumerate(sizes):
        arguments += ["-object", f"memory-backend-ram,id=dimm{number},size={size}M",
                      "-device", f"pc-dimm,id=slot{number},memdev=dimm{number}"]
    return tuple(arguments)


def _virtio_mem(machine_type: str, qemu: int) -> Machine:
    """A quarter of a 1 GiB virtio-mem device is plugged, and the guest fills more than its main memory."""
    extra = ("-object", "memory-backend-ram,id=vmem,size=1G",
             "-device", "virtio-mem-pci,id=vm0,memdev=vmem,requested-size=256M")
    return Machine(type=machine_type, memory=256, memory_options="maxmem=2G", extra=extra, qemu=qemu, fill=300)


_Q35_5G = Machine(memory=5120)
_Q10 = Machine(type="pc-q35-10.0", qemu=10)
# The highest address of this guest reaches AMD's HyperTransport range, which moves RAM above 4 GiB to 1 TiB.
_AMD = {"cpu": "EPYC,host-phys-bits=off,phys-bits=48", "memory_options": "slots=1,maxmem=1100G"}

# Live saves are made by QEMU 10, with the older machine types: under TCG, QEMU 7.2 does not reset its TLBs when it
# clears dirty bits, loses later changes of those pages, and its stream then disagrees with its own dump.
_LIVE_Q35 = {"type": "pc-q35-7.2", "qemu": 10}
_LIVE_PC = {"type": "pc-i440fx-7.2", "qemu": 10}

_PLAIN = [
    _case("q35-256m-stopped", Machine()),
    _case("q35-256m-live", Machine(**_LIVE_Q35), LIVE, LONG),
    _case("pc-256m-stopped", Machine(type="pc"), label=LONG),
    _case("pc-256m-live", Machine(**_LIVE_PC), LIVE),
    _case("q35-3g-stopped", Machine(memory=3072)),
    _case("q35-3g-live", Machine(memory=3072, **_LIVE_Q35), LIVE, LONG),
    _case("pc-3g-stopped", Machine(type="pc", memory=3072), label=LONG),
    _case("pc-3g-live", Machine(memory=3072, **_LIVE_PC), LIVE, LONG),
    _case("q35-5g-stopped", _Q35_5G, label=LONG),
    _case("q35-5g-live", Machine(memory=5120, **_LIVE_Q35), LIVE, LONG),
    _case("pc-5g-stopped", Machine(type="pc", memory=5120), label=LONG),
    _case("pc-5g-live", Machine(memory=5120, **_LIVE_PC), LIVE),
]

_LAYOUTS = [
    _firmware("pc-256m-firmware", "pc", 256, *_around(256 << 20)),
    _firmware("q35-256m-firmware", "q35", 256, *_around(256 << 20)),
    _firmware("pc-256m-reset", "pc", 256, *_around(256 << 20), state=RESET),
    _firmware("q35-256m-reset", "q35", 256, *_around(256 << 20), state=RESET),
    # Without a VGA nothing hides the RAM at 0xa0000.
    _firmware("pc-no-vga-firmware", "pc", 64, *_around(64 << 20), extra=("-vga", "none")),
    _firmware("q35-no-vga-firmware", "q35", 64, *_around(64 << 20), extra=("-vga", "none")),
    _firmware("isapc-firmware", "isapc", 64, *_around(64 << 20), cpu="", cpus=1),
    _firmware("pc-3g-firmware", "pc", 3072, *_around(3 * _GIB)),
    _firmware("pc-below4g-2g-firmware", "pc,max-ram-below-4g=2G", 3072, *_around(2 * _GIB, _HIGH)),
    _firmware("q35-below4g-1g-firmware", "q35,max-ram-below-4g=1G", 3072, *_around(_GIB, _HIGH)),
    _firmware("q35-2800m-firmware", "q35", 2800, *_around(2800 << 20)),
    _firmware("q35-5g-firmware", "q35", 5120, *_around(2 * _GIB, _HIGH, _HIGH + 3 * _GIB - (16 << 20))),
    _firmware("pc-1.7-4g-firmware", "pc-i440fx-1.7", 4096, *_around(0xE0000000, _HIGH), cpu="qemu64"),
    _firmware("q35-2.6-4g-firmware", "pc-q35-2.6", 4096, *_around(2 * _GIB, _HIGH), cpu="qemu64"),
    _firmware("pc-2.2-firmware", "pc-i440fx-2.2", 256, *_around(256 << 20), cpu="qemu64"),
    _firmware("pc-2.3-firmware", "pc-i440fx-2.3", 256, *_around(256 << 20), cpu="qemu64"),
    _firmware("microvm-4g-reset", "microvm", 4096, *_around(3 * _GIB, _HIGH), state=RESET),
    _firmware("numa-4g-firmware", "pc", 4096, *_around(3 * _GIB, 1520 << 20, 1536 << 20, _HIGH),
              extra=_nodes(1536, 2560)),
    # A save lists blocks by size, so it does not tell which of two DIMMs was plugged first.
    _firmware("dimm-two-firmware", "pc", 256, *_around(256 << 20, _HIGH, _HIGH + (128 << 20)),
              memory_options="slots=4,maxmem=2G", extra=_dimms(128, 512),
              check=partial(conversions.check_block_addresses,
                            addresses={"dimm0": _HIGH, "dimm1": _HIGH + (128 << 20)})),
    _firmware("amd-1tib-firmware", "pc-q35-7.2", 3072, *_around(2 * _GIB, 1 << 40), **_AMD),
]

_DEVICES = [
    _case("numa-linux", Machine(memory=512, extra=_nodes(192, 320)), check=_INFORMATION_TOO),
    _case("dimm-linux", Machine(memory=256, memory_options="slots=4,maxmem=2G", extra=_dimms(256), fill=300)),
    _case("virtio-mem", _virtio_mem("q35", 7)),
    _case("microvm-linux", Machine(type="microvm")),
    _case("q35-no-vmdesc", Machine(type="q35,suppress-vmdesc=on")),
    _case("q35-la57", Machine(cpu="max")),
    # Before 2.5 fw_cfg had no DMA, which -device vmcoreinfo needs; and before 2.7 the guest hangs with -cpu max.
    _case("pc-2.2-linux", Machine(type="pc-i440fx-2.2", cpu="qemu64", vmcoreinfo=False)),
    _case("pc-1.7-4g-linux", Machine(type="pc-i440fx-1.7", memory=4096, cpu="qemu64", vmcoreinfo=False), label=LONG),
    _case("q35-2.6-4g-linux", Machine(type="pc-q35-2.6", memory=4096, cpu="qemu64"), label=LONG),
]

_QEMU10 = [
    _case("qemu10-stopped", _Q10, check=_INFORMATION_TOO),
    _case("qemu10-live", _Q10, LIVE),
    _case("qemu10-virtio-mem", _virtio_mem("pc-q35-10.0", 10)),
]

_STREAMS = [
    _case("compressed-input", Machine(), check=conversions.check_compressed_input),
    _case("pipes", Machine(), check=conversions.check_pipes),
    _case("salvage-truncated", Machine(), check=conversions.check_salvage),
]

def _encoded(name: str, machine: Machine, form: str, save: Save, kind: str = STOPPED, label: str = REAL,
             least: int = 1000) -> Case:
    """A save that holds pages in another form than as their bytes, or elsewhere than in records."""
    check = partial(conversions.check_encoding, form=form, least=least, offset=save.offset)
    return _case(name, machine, kind, label, check, save)


def _mapped_ram(*more: str, offset: int = 0, **parameters) -> Save:
    return Save(capabilities=("mapped-ram", *more), parameters=parameters, file=True, offset=offset)


_BACKGROUND = Save(capabilities=("background-snapshot",), bandwidth=64 << 20)
_ENCODINGS = [
    _encoded("compress", Machine(), "compressed", Save(capabilities=("compress",))),
    # Deltas are of pages that were sent twice before: thousands, but few on a busy machine.
    # Not on every change: few deltas come about when a pass is over before the guest can be let run in it.
    _encoded("xbzrle-live", Machine(**_LIVE_Q35), "delta", Save(capabilities=("xbzrle",), passes=6), LIVE, LONG,
             least=50),
    _encoded("mapped-ram-stopped", _Q10, "mapped", _mapped_ram(), label=LONG),
    _encoded("mapped-ram-live", _Q10, "mapped", _mapped_ram(), LIVE, LONG),
    _encoded("mapped-ram-offset", _Q10, "mapped", _mapped_ram(offset=0x1234), label=LONG),
    _encoded("mapped-ram-multifd", _Q10, "mapped", _mapped_ram("multifd"), label=LONG),
    _encoded("mapped-ram-multifd-offset-live", _Q10, "mapped", _mapped_ram("multifd", offset=0x1234), LIVE),
    # Without detection of zeros every page is in the file.
    _encoded("mapped-ram-all-pages", _Q10, "mapped", _mapped_ram("multifd", **{"zero-page-detection": "none"}),
             label=LONG),
    _case("background-snapshot", Machine(), check=conversions.check_background_snapshot, save=_BACKGROUND),
    _case("background-snapshot-qemu10", _Q10, label=LONG, check=conversions.check_background_snapshot,
          save=_BACKGROUND),
] + [
    Case(f"multifd-connections-qemu{qemu}",
         partial(capture_connections, Machine(state=FIRMWARE, vmcoreinfo=False, qemu=qemu)),
         conversions.check_connections)
    for qemu in (7, 10)
]

_LIBVIRT = [
    Case(f"libvirt-save-{name}", partial(libvirt.capture_save, name),
         label=REAL if name in ("gzip", "lzop") else LONG)
    for name in ("gzip", "bzip2", "xz", "lzop", "zstd")
] + [
    Case("libvirt-dump", partial(libvirt.capture_dump, "raw")),
    Case("libvirt-dump-gzip", partial(libvirt.capture_dump, "gzip")),
    Case("libvirt-managedsave", libvirt.capture_managed_save, label=LONG),
    Case("libvirt-save-sparse", libvirt.capture_sparse, partial(conversions.check_encoding, form="mapped")),
    Case("libvirt-save-sparse-parallel",
         partial(libvirt.capture_sparse, options=("--parallel-channels", "3")),
         partial(conversions.check_encoding, form="mapped"), LONG),
]


def _snapshots(name: str, machine: Machine, *images: snapshots.Image, label: str = REAL) -> Case:
    return Case(name, partial(snapshots.capture, machine, images),
                partial(snapshot_checks.check_images, images=images), label)


def _small_firmware(qemu: int, machine_type: str) -> Machine:
    return Machine(type=machine_type, qemu=qemu, memory=64, state=FIRMWARE, vmcoreinfo=False,
                   blobs=((32 << 20, 4),))


_QCOW2 = [
    _snapshots("qcow2-layouts", _small_firmware(7, "pc"), *snapshots.LAYOUTS),
    _snapshots("qcow2-layouts-qemu10", _small_firmware(10, "pc-q35-10.0"), *snapshots.LAYOUTS,
               label=LONG),
    _snapshots("qcow2-linux", Machine(), snapshots.PLAIN, label=LONG),
    _snapshots("qcow2-linux-qemu10", _Q10, snapshots.PLAIN),
]

# Where a board without firmware needs some to have DIMMs, any file will do: the guest never runs.
_ANY_FIRMWARE = ("-bios", str(paths.ROOT / "guest-arm64/busybox"))
_ARM = {"type": "virt", "arch": arches.AARCH64}
_NEW_ARM = {"type": "virt", "arch": arches.NEW_AARCH64}
# The notes of SVE are left out.
_ARM_MAX = "max,sve=off,pauth-impdef=on"
_S390X = {"type": "s390-ccw-virtio", "arch": arches.S390X, "vmcoreinfo": False}
_PPC64 = {"type": "pseries", "arch": arches.PPC64, "vmcoreinfo": False, "memory": 512}
_RISCV = {"type": "virt", "arch": arches.RISCV64, "vmcoreinfo": False}
_I386 = {"type": "pc", "arch": arches.I386, "cpu": ""}


def _foreign(name: str, label: str, **options) -> Case:
    return _case(name, Machine(**options), label=label, check=architectures.check_architecture)


_ARCHITECTURES = [
    _foreign("aarch64-linux", REAL, **_ARM),
    _foreign("aarch64-linux-qemu10", LONG, **_ARM, qemu=10),
    _foreign("s390x-linux", LONG, **_S390X),
    _foreign("s390x-linux-qemu10", REAL, **_S390X, qemu=10),
    _foreign("ppc64le-linux", LONG, **_PPC64),
    _foreign("ppc64le-linux-qemu10", REAL, **_PPC64, qemu=10),
    # A hash page table, which is a live section of its own in the save.
    _foreign("ppc64le-hash-linux", LONG, **_PPC64, cpu="power8"),
    _foreign("ppc64le-new-linux-qemu10", LONG, **_PPC64 | {"arch": arches.NEW_PPC64}, qemu=10),
    _foreign("s390x-new-linux-qemu10", LONG, **_S390X | {"arch": arches.NEW_S390X}, qemu=10),
    _foreign("aarch64-new-linux-qemu10", LONG, **_NEW_ARM, qemu=10),
    _foreign("aarch64-lpa2-linux-qemu10", LONG, **_NEW_ARM, qemu=10, cpu=_ARM_MAX),
    _foreign("aarch64-el2-linux-qemu10", LONG, **_NEW_ARM | {"type": "virt,virtualization=on"}, qemu=10, cpu=_ARM_MAX),
    _foreign("aarch64-5g-linux", LONG, **_ARM, memory=5120, fill=64),
    # Linux is little-endian on the guests above, their firmware big-endian.
    _foreign("ppc64-firmware", LONG, **_PPC64, state=FIRMWARE, blobs=((256 << 20, 16),)),
    _foreign("ppc64-firmware-qemu10", LONG, **_PPC64, state=FIRMWARE, qemu=10, blobs=((256 << 20, 16),)),
    _foreign("riscv64-firmware", REAL, **_RISCV, state=FIRMWARE, blobs=((0x88000000, 16),)),
    _foreign("riscv64-linux", LONG, **_RISCV),
    _foreign("riscv64-linux-qemu10", LONG, **_RISCV, qemu=10),
    _foreign("riscv64-sv39-linux-qemu10", LONG, **_RISCV, qemu=10, cpu="rv64,sv48=false,sv57=false"),
    _foreign("i386-high-memory-linux", LONG, **_I386, memory=2048, fill=64),
    _foreign("i386-linux", REAL, **_I386),
    _foreign("i386-linux-qemu10", LONG, **_I386, qemu=10),
    # Not in long mode yet, so a 32-bit guest to QEMU.
    _foreign("pc-firmware-notes", LONG, type="pc", state=FIRMWARE, blobs=_around(256 << 20)),
    _foreign("pc-firmware-notes-qemu10", LONG, type="pc", state=FIRMWARE, blobs=_around(256 << 20), qemu=10),
    _foreign("aarch64-numa-dimm-reset", LONG, **_ARM, state=RESET, memory=512, memory_options="slots=2,maxmem=2G",
             extra=(*_nodes(192, 320), *_dimms(256), *_ANY_FIRMWARE),
             blobs=((0x42000000, 16), (0x4C000000, 16), (2 << 30, 16))),
    _foreign("ppc64-dimm-reset", LONG, **_PPC64, state=RESET, memory_options="slots=2,maxmem=2G", extra=_dimms(256),
             blobs=((128 << 20, 16), (1 << 30, 16))),
    _foreign("sbsa-reset", LONG, type="sbsa-ref", arch=arches.AARCH64, cpu="", state=RESET, memory=1024,
             vmcoreinfo=False, blobs=(((1 << 40) + (64 << 20), 16),)),
]

def _rows(name: str, machine: Machine, *rows: matrix.Row, kind: str = STOPPED, label: str = REAL) -> Case:
    """What consumers find in what the guest was converted to."""
    return _case(f"consumers-{name}", machine, kind, label, partial(matrix.check, rows=rows))


def _named(row: matrix.Row, text: str) -> matrix.Row:
    return replace(row, text=text)


_CONSUMERS = [
    _case("notes", Machine(cpus=3), check=_all(conversions.check_notes, information.check_information)),
    _case("notes-qemu10-live", Machine(**_LIVE_Q35), LIVE, LONG, check=conversions.check_notes),
    _rows("qemu", Machine(memory=1024), matrix.DIRECT, matrix.RAW_OUTPUT, matrix.LIME_OUTPUT),
    _rows("no-device", Machine(vmcoreinfo=False), _named(matrix.DIRECT, "QEMU save, no vmcoreinfo device"),
          matrix.OLD_NOTES, matrix.NO_VMCOREINFO),
    _rows("kpti", Machine(append=("pti=on", "lab.spin=2"), vmcoreinfo=False), matrix.KPTI, label=LONG),
    _rows("la57-5g", Machine(memory=5120, cpu="max", vmcoreinfo=False, fill=64),
          replace(matrix.DIRECT, text="QEMU save, 5 GiB, five-level paging, no vmcoreinfo device",
                  cannot=(("Volatility 3", "knows four levels of page tables"),))),
    Case("consumers-libvirt", partial(libvirt.capture_save, "raw"),
         _all(_INFORMATION_TOO, partial(matrix.check, rows=(_named(matrix.DIRECT, "`virsh save`"),)))),
    _rows("inputs", Machine(memory=1024), matrix.FROM_RAW, matrix.FROM_LIME, matrix.FROM_DUMP,
          matrix.FROM_KDUMP, label=LONG),
    _rows("live-5g", Machine(memory=5120, **_LIVE_Q35), _named(matrix.DIRECT, "QEMU 10, live save, 5 GiB"), kind=LIVE,
          label=LONG),
    _rows("vmware", Machine(memory=1024), matrix.VMWARE, matrix.VMWARE_PANIC, matrix.VMWARE_ALONE, label=LONG),
    Case("consumers-qcow2", partial(snapshots.capture, Machine(), (snapshots.PLAIN,)),
         partial(matrix.check, rows=(matrix.SNAPSHOT,)), LONG),
    Case("consumers-core", partial(process_core.capture, process_core.Process(
        ("-machine", "q35", "-m", "256", "-cpu", "max,la57=off", "-vga", "std"), linux=True, by=(process_core.GCORE,))),
         partial(matrix.check, rows=(matrix.PROCESS_CORE,)), LONG),
]


def _core(name: str, check, *arguments: str, label: str = REAL, **options) -> Case:
    return Case(name, partial(process_core.capture, process_core.Process(arguments, **options)), check, label)


def _core_linux(name: str, qemu: int, executable: str, label: str) -> Case:
    return _core(name, partial(process_cores.check_linux, executable=Path(executable)),
                 "-machine", "q35", "-m", "128", "-cpu", "max,la57=off", "-vga", "std", "-device", "vmcoreinfo",
                 qemu=qemu, linux=True, label=label)


_OTHER_BACKENDS = (
    "-machine", "pc,nvdimm=on", "-m", "192,slots=4,maxmem=2G", "-smp", "2", "-vga", "std",
    "-object", "memory-backend-memfd,id=ram-node0,size=64M,share=on", "-numa", "node,cpus=0,memdev=ram-node0",
    "-object", "memory-backend-ram,id=ram-node1,size=128M", "-numa", "node,cpus=1,memdev=ram-node1",
    "-object", "memory-backend-ram,id=dimm0,size=32M", "-device", "pc-dimm,id=slot0,memdev=dimm0",
    "-object", "memory-backend-ram,id=nv0,size=16M", "-device", "nvdimm,id=slot1,memdev=nv0")

_PROCESS_CORES = [
    _core_linux("core-linux", 7, "/usr/bin/qemu-system-x86_64", REAL),
    _core_linux("core-qemu10-linux", 10, str(paths.ROOT / "qemu10/usr/bin/qemu-system-x86_64"), LONG),
    _core("core-qemu10", process_cores.check_outputs, "-machine", "q35", "-m", "64", "-vga", "std", qemu=10,
          blobs=((32 << 20, 8),), by=(process_core.GCORE,)),
    # The kernel leaves out the DIMM, which nobody has touched.
    _core("core-numa-dimm", process_cores.check_outputs, *_OTHER_BACKENDS, blobs=((16 << 20, 8), (100 << 20, 8)),
          seconds=3),
    _core("core-off", partial(process_cores.check_refused, text="dump-guest-core=off"),
          "-machine", "pc,dump-guest-core=off", "-m", "32"),
    _core("core-mapped-file", partial(process_cores.check_refused, text='mapped.ram", which the core leaves out'),
          "-machine", "pc,memory-backend=ram0", "-m", "32", "-object",
          "memory-backend-file,id=ram0,size=32M,share=on,mem-path=@DIR@/mapped.ram"),
    _core("core-mapped-file-kept", process_cores.check_outputs,
          "-machine", "pc,memory-backend=ram0", "-m", "32", "-object",
          "memory-backend-file,id=ram0,size=32M,share=on,mem-path=@DIR@/mapped.ram", filter=0x3b,
          blobs=((16 << 20, 8),), label=LONG),
    _core("core-cut-off", process_cores.check_cut_off, "-machine", "pc", "-m", "64",
          by=(process_core.KERNEL,), blobs=((16 << 20, 32),)),
    _core("core-aarch64", process_cores.check_raw, "-machine", "virt", "-cpu", "cortex-a57", "-m", "64",
          program="qemu-system-aarch64", blobs=((0x42000000, 8),)),
    _core("core-s390x", process_cores.check_raw, "-machine", "s390-ccw-virtio", "-m", "64",
          program="qemu-system-s390x", blobs=((32 << 20, 8),)),
    _core("core-ppc64", process_cores.check_raw, "-machine", "pseries", "-m", "256",
          program="qemu-system-ppc64", blobs=((32 << 20, 8),), seconds=4),
    _core("core-riscv64", process_cores.check_raw, "-machine", "virt", "-m", "64",
          program="qemu-system-riscv64", blobs=((0x82000000, 8),), label=LONG),
    Case("core-debug-file", process_cores.capture_debug_program, process_cores.check_debug_file),
]

def _screen(name: str, *arguments: str, label: str = LONG, **options) -> Case:
    """What a display showed: each picture is compared with QEMU's screendump."""
    return Case(f"screen-{name}", partial(capture_screens, Display(arguments, **options)),
                screens.check_pictures, label)


_SCREENS = [
    _screen("modes", "-vga", "std", keys="abdfgijklmw", label=REAL),
    _screen("bochs", "-device", "bochs-display", label=REAL),
    _screen("ramfb", "-device", "ramfb", qemu=10, label=REAL),
    _screen("std", "-vga", "std", keys=TEXT + VGA + VBE),
    _screen("std-qemu10", "-vga", "std", keys=TEXT + VGA + VBE, qemu=10),
    _screen("cirrus", "-vga", "cirrus", keys=TEXT + VGA + "ijklnqr"),
    _screen("cirrus-qemu10", "-vga", "cirrus", keys=TEXT + VGA + "ijklnqr", qemu=10),
    _screen("qxl", "-vga", "qxl", keys=TEXT + VGA + VBE),
    _screen("virtio-vga", "-vga", "virtio", keys=TEXT + VGA + VBE),
    _screen("vmware", "-vga", "vmware", keys=TEXT + VGA + VBE),
    _screen("pc-2.12", "-vga", "std", keys="adkm", type="pc-i440fx-2.12"),
    _screen("linux-text", "-vga", "std", linux="nomodeset", type="q35"),
    _screen("linux-vesa-16", "-vga", "std", linux="nomodeset vga=791"),
    _screen("linux-vesa-8", "-vga", "std", linux="nomodeset vga=773"),
    _screen("linux-text-80x50", "-vga", "std", linux="nomodeset vga=0xf01"),
    _screen("linux-bochs", "-device", "bochs-display", linux="", type="q35"),
    _screen("linux-virtio-vga", "-vga", "virtio", linux="", type="q35"),
    _screen("linux-virtio-gpu-qemu10", "-device", "virtio-gpu-pci", linux="", type="q35", qemu=10),
    _screen("linux-virtio-gpu", "-device", "virtio-gpu-pci", linux="", type="q35"),
    _screen("linux-qxl", "-vga", "qxl", "-spice", "port=0,addr=127.0.0.1,disable-ticketing=on", linux="", type="q35"),
]


def _foreign_dump(name: str, program: str, arguments: str, *blobs: int) -> Case:
    machine = Foreign(program, tuple(arguments.split()), tuple((gpa, 2) for gpa in blobs))
    return Case(f"dumps-{name}", partial(capture_foreign, machine), dumps.check_dumps)


# Dumps as inputs. Not one instruction runs in the guests of other architectures.
_DUMPS = [
    Case("dumps-qemu7", partial(capture_dumps, Machine()), dumps.check_pc_dumps, LONG),
    Case("dumps-qemu10", partial(capture_dumps, _Q10), dumps.check_pc_dumps),
    _case("dumps-makedumpfile", Machine(), check=dumps.check_makedumpfile),
    _foreign_dump("i386", "qemu-system-i386", "-M pc -m 64 -smp 2 -cpu qemu32", 1 << 20, 50 << 20),
    _foreign_dump("aarch64", "qemu-system-aarch64", "-M virt -cpu cortex-a57 -m 64 -smp 2", 0x41000000, 0x43E00000),
    _foreign_dump("s390x", "qemu-system-s390x", "-M s390-ccw-virtio -m 64 -smp 2", 1 << 20, 62 << 20),
    _foreign_dump("ppc64", "qemu-system-ppc64", "-M pseries -m 256 -smp 2", 64 << 20, 254 << 20),
    _foreign_dump("riscv64", "qemu-system-riscv64", "-M virt -bios none -m 64 -smp 2", 0x80000000, 0x83E00000),
]

# Files as VMware writes them, around the memory and registers of a QEMU guest.
_VMWARE = [
    _case("vmware-layouts", Machine(), check=vmware_states.check_layouts),
    _firmware("vmware-split", "pc", 5120, *_around(3 * _GIB, _HIGH, _HIGH + 2 * _GIB - (16 << 20)),
              check=vmware_states.check_split),
]



def _xen(name: str, captures: str, *checks: Callable[[Context], None], label: str = LONG, **options) -> Case:
    """Guests of a Xen that runs in an emulated PC; `captures` are functions of lab/xen-dom0."""
    machine = xen.Hypervisor(tuple(captures.split()), **options)
    return Case(f"xen-{name}", partial(xen.capture, machine), _all(*checks), label)


_XEN_ROWS = (xen_consumers.CORE, xen_consumers.SAVE, xen_consumers.PVH_SAVE, xen_consumers.BARE_RAW,
             xen_consumers.BARE_LIME, xen_consumers.BARE_RAW_TO_RAW, xen_consumers.BARE_LIME_TO_LIME)
_XEN = [
    _xen("mini", "mini", xen_states.check_mini),   # makes samples, too
    _xen("pv", "mini pv", xen_states.check_mini, xen_states.check_running("pv"), xen_states.check_saved("pv"),
         xen_states.check_bare("pv"), partial(matrix.check, rows=xen_consumers.FEW),
         xen_consumers.check_paravirtual(xen_consumers.CORE, "pv/run"),
         xen_consumers.check_paravirtual(xen_consumers.BARE_RAW, "pv/run"), label=REAL),
    _xen("balloon", "balloon", xen_states.check_running("balloon"), xen_states.check_saved("balloon"),
         xen_states.check_bare("balloon"), partial(matrix.check, rows=(xen_consumers.BALLOONED,)),
         xen_consumers.check_paravirtual(xen_consumers.BALLOONED, "balloon/run")),
    _xen("crash", "crash", xen_states.check_crashed("crash"),
         partial(matrix.check, rows=(xen_consumers.CRASHED,)),
         xen_consumers.check_paravirtual(xen_consumers.CRASHED, "crash/crashed")),
    _xen("spin", "spin", xen_states.check_running("spin"), xen_states.check_bare("spin")),
    _xen("pvh", "pvh", xen_states.check_pvh("pvh")),
    _xen("pvh-core", "pvh_core", xen_states.check_pvh("pvhcore")),
    _xen("big", "big", xen_states.check_running("big"), xen_states.check_bare("big"), guests_mib=1150,
         dom0_mib=2300),
    # Xen 4.20 and Linux 6.12, for which there is no debug file.
    _xen("new", "mini pv balloon", xen_states.check_mini, xen_states.check_running("pv"), xen_states.check_saved("pv"),
         xen_states.check_bare("pv"), xen_states.check_running("balloon"), xen_states.check_saved("balloon"),
         tree="xen-new", version="4.20", kernel="kernel-new"),
    Case("consumers-xen", partial(xen.capture, xen.Hypervisor(("pv", "pvh"))), partial(matrix.check, rows=_XEN_ROWS),
         LONG),
]

CASES = {case.name: case for case in
         (*_PLAIN, *_LAYOUTS, *_DEVICES, *_QEMU10, *_STREAMS, *_ENCODINGS, *_LIBVIRT, *_QCOW2,
          *_ARCHITECTURES, *_CONSUMERS, *_PROCESS_CORES, *_SCREENS, *_DUMPS,
          *_VMWARE, *_XEN)}
