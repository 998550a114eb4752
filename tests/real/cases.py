"""The table of real-guest tests: which guest, how it is captured, what is checked, and when it runs.

Label `real` is for every change and takes minutes; `real-long` adds combinations that
repeat what the first set already crosses, with more memory or a slower boot.
"""

from dataclasses import dataclass
from functools import partial
from typing import Callable

import consumers
import conversions
from context import Context
from lab import libvirt
from lab.capture import LIVE, PLAIN, STOPPED, Save, capture
from lab.connections import capture_connections
from lab.guest import FIRMWARE, RESET, Machine

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
    _case("numa-linux", Machine(memory=512, extra=_nodes(192, 320))),
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
    _case("qemu10-stopped", _Q10),
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
    # Deltas are of pages that were sent twice before: the more passes, the more of them.
    _encoded("xbzrle-live", Machine(**_LIVE_Q35), "delta", Save(capabilities=("xbzrle",), passes=6), LIVE, least=100),
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
         label=REAL if name in ("raw", "gzip", "lzop") else LONG)
    for name in ("raw", "gzip", "bzip2", "xz", "lzop", "zstd")
] + [
    Case("libvirt-dump", partial(libvirt.capture_dump, "raw")),
    Case("libvirt-dump-gzip", partial(libvirt.capture_dump, "gzip")),
    Case("libvirt-managedsave", libvirt.capture_managed_save, label=LONG),
    Case("libvirt-save-sparse", libvirt.capture_sparse, partial(conversions.check_encoding, form="mapped")),
    Case("libvirt-save-sparse-parallel",
         partial(libvirt.capture_sparse, options=("--parallel-channels", "3")),
         partial(conversions.check_encoding, form="mapped"), LONG),
]

_GUEST_1G = Machine(memory=1024)
_CONSUMERS = [
    _case("notes", Machine(cpus=3), check=conversions.check_notes),
    _case("notes-qemu10-live", Machine(**_LIVE_Q35), LIVE, LONG, check=conversions.check_notes),
    _case("readelf", Machine(), check=consumers.check_readelf),
    _case("crash", _GUEST_1G, check=consumers.check_crash),
    _case("crash-5g", _Q35_5G, check=consumers.check_crash, label=LONG),
    _case("crash-no-vmcoreinfo", Machine(vmcoreinfo=False), check=consumers.check_crash),
    _case("volatility", _GUEST_1G, check=consumers.check_volatility),
    _case("volatility-live-5g", Machine(memory=5120, **_LIVE_Q35), LIVE, check=consumers.check_volatility, label=LONG),
    _case("kdumpfile", Machine(), check=consumers.check_kdumpfile),
]

CASES = {case.name: case for case in
         (*_PLAIN, *_LAYOUTS, *_DEVICES, *_QEMU10, *_STREAMS, *_ENCODINGS, *_LIBVIRT, *_CONSUMERS)}
