"""Checks of what `vmconvert info` and `vmconvert extract` tell of a save."""

import json
import re
import struct
from datetime import datetime, timezone

import compare
from context import Context, Failed

_CLOCK_SECONDS = 600  # between the guest's clock when it was saved and the file's date, on a loaded machine
_MAGIC = b"LibvirtQemudSave"
_HEADER = struct.Struct("<16s5I56x")  # magic, version, data_len, was_running, format, cookieOffset
# Rows of QEMU's "info registers" and the names that `info` has for what they show.
_REGISTER = re.compile(r"\b(RIP|RSP|RFL|CR0|CR3|CR4)=([0-9a-f]+)")
_NAMES = {"RFL": "rflags"}


def _require(what: str, expected, actual):
    if expected != actual:
        raise Failed(f"{what}: expected {expected!r}, got {actual!r}")


def _ranges(listed: list[dict]) -> list[tuple[int, int]]:
    return [(int(entry["begin"], 16), int(entry["end"], 16)) for entry in listed]


def _check_blocks(context: Context, guest: dict):
    """Each block of guest RAM is where QEMU's flat memory map has it."""
    regions = [region for region in compare.flat_memory_map((context.capture / "mtree.txt").read_text()) if region.is_ram]
    for name in {region.name.split(" @")[0] for region in regions}:
        blocks = [block for block in guest["blocks"] if block["name"] == name]
        _require(f"blocks called {name}", 1, len(blocks))
        mapped = [(region.begin, region.end) for region in regions if region.name.split(" @")[0] == name]
        _require(f"guest addresses of {name}", compare.unite(mapped), _ranges(blocks[0]["guest"]))
    memory = guest["memory"]
    _require("bytes of memory", sum(end - begin for begin, end in _ranges(memory["extents"])), memory["size"])


def _check_registers(context: Context, guest: dict):
    texts = (context.capture / "registers.txt").read_text().split("CPU#")[1:]
    _require("vCPUs", len(texts), len(guest["vcpus"]))
    for number, (text, vcpu) in enumerate(zip(texts, guest["vcpus"])):
        expected = {_NAMES.get(name, name.lower()): int(value, 16) for name, value in _REGISTER.findall(text)}
        _require(f"registers of vCPU {number} in QEMU's text", 6, len(expected))
        actual = {name: int(vcpu["registers"][name], 16) for name in expected}
        _require(f"registers of vCPU {number}", expected, actual)


def _check_kernel(context: Context, guest: dict):
    release = re.search(r"Linux version (\S+)", (context.capture / "console.log").read_text(errors="replace"))[1]
    _require("kernel release", release, guest["kernel"]["release"])


def _check_clock(context: Context, guest: dict):
    shown = datetime.fromisoformat(guest["facts"]["guest.rtc"][0]).replace(tzinfo=timezone.utc)
    apart = abs(context.save.stat().st_mtime - shown.timestamp())
    if apart > _CLOCK_SECONDS:
        raise Failed(f"the guest's clock showed {shown}, {apart:.0f} s from when the save was written")
    ran = int(guest["facts"]["guest.vm_clock_ns"][0]) / 1e9
    if not 0.1 < ran < _CLOCK_SECONDS:
        raise Failed(f"the guest ran {ran} s")


def _stream(save: bytes) -> bytes:
    """The migration stream of a save that is not compressed."""
    if not save.startswith(_MAGIC):
        return save
    return save[_HEADER.size + _HEADER.unpack_from(save)[2]:]


def _check_description(context: Context, guest: dict):
    """The description is the last thing in the stream, behind a length of 4 bytes."""
    extracted = context.run("extract", context.save, "--vmdesc", "-").stdout
    stream = _stream(context.save.read_bytes())
    if not stream.endswith(b"\x00\x06" + struct.pack(">I", len(extracted)) + extracted):
        raise Failed("what was extracted as the description is not the end of the stream")
    expected = [(device["name"], device["instance_id"], device["version"]) for device in json.loads(extracted)["devices"]]
    actual = [(device["name"], device["instance"], device["version"]) for device in guest["devices"]]
    _require("devices", expected, actual)


def _check_domain(context: Context, guest: dict):
    """The domain XML is what lies behind the header; virsh's has a few implied devices more."""
    save = context.save.read_bytes()
    _, version, length, was_running, _, cookie = _HEADER.unpack_from(save)
    data = save[_HEADER.size:_HEADER.size + length]
    folder = context.work / "extracted"
    context.run("extract", context.save, "--all", folder)
    _require("domain.xml", data[:cookie].rstrip(b"\0"), (folder / "domain.xml").read_bytes())
    _require("cookie.xml", data[cookie:].rstrip(b"\0"), (folder / "cookie.xml").read_bytes())
    dumped = iter((context.capture / "domain.xml").read_text().split("\n"))
    for line in (folder / "domain.xml").read_text().split("\n"):
        if line and line not in dumped:  # `in` goes on where the last line was found
            raise Failed(f"virsh does not show this line of the domain: {line!r}")
    facts = guest["facts"]
    _require("libvirt's header", (str(version), "yes" if was_running else "no"),
             (facts["libvirt.version"][0], facts["libvirt.was_running"][0]))
    uuid = re.search(r"<uuid>(.*)</uuid>", (context.capture / "domain.xml").read_text())[1]
    _require("domain", ("vmconvert-lab", uuid), (facts["domain.name"][0], facts["domain.uuid"][0]))


def check_information(context: Context):
    """What `info --json` says is what QEMU and libvirt say, and what `extract` writes is in the file."""
    info = json.loads(context.run("info", "--json", context.save).stdout)
    _require("schema", "vmconvert-info/1", info["schema"])
    guest = info["guest"]
    for check in (_check_blocks, _check_registers, _check_kernel, _check_clock, _check_description):
        check(context, guest)
    if "libvirt.version" in guest["facts"]:
        _check_domain(context, guest)
    blocks, devices = len(guest["blocks"]), len(guest["devices"])
    print(f"info: {blocks} blocks, {len(guest['vcpus'])} vCPUs, {devices} devices, kernel {guest['kernel']['release']}")
