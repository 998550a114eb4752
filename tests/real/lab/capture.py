"""Captures one state of a guest in several ways, so that each checks the others.

Files of a capture directory:
  save.qevm      the migration stream, what vmconvert reads
  ref.elf        QEMU's own dump of the same memory, what vmconvert's output is compared with
  mtree.txt      QEMU's flat memory map, which names every range
  registers.txt  registers of all vCPUs
  console.log    what the guest printed: kernel version, symbols, /proc/iomem
"""

import os
import shlex
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .guest import Guest, Machine
from .qmp import Qmp, QmpError

STOPPED = "stopped"  # saved while paused: each page once
LIVE = "live"        # saved while running: changed pages are sent again

_UNLIMITED = 16 << 30   # bytes per second
_FROZEN = 64 << 10      # slow enough that a pass does not end while the guest runs
_LIVE_PASSES = 3        # passes over memory during which the guest changes pages
_WRITE_SECONDS = 0.7
_ATTEMPTS = 3           # at a live save, which depends on how two processes are scheduled
_MIGRATE_SECONDS = 240
_BLOCK = 64 << 10       # what one read of a Linux pipe gives at most by default
_ZEROS = bytes(_BLOCK)


class CaptureFailed(Exception):
    """QEMU could not save or dump the guest."""


class _PassEnded(CaptureFailed):
    """A live save went on when it should have waited for the guest: of no use, and the next one will do."""


@dataclass(frozen=True)
class Save:
    """How QEMU is told to write a save: its capabilities and parameters, and where the stream goes.

    With `file` it writes a seekable file itself, from `offset` on; otherwise through a pipe.
    """

    capabilities: tuple[str, ...] = ()
    parameters: dict = field(default_factory=dict)
    file: bool = False
    offset: int = 0
    bandwidth: int = _UNLIMITED  # of a save of a stopped guest
    passes: int = _LIVE_PASSES   # of a live save

    @property
    def resumes_guest(self) -> bool:
        """Whether QEMU saves the state of the moment and lets the guest go on meanwhile."""
        return "background-snapshot" in self.capabilities

    def configure(self, qmp: Qmp):
        if self.capabilities:
            qmp.execute("migrate-set-capabilities",
                        capabilities=[{"capability": name, "state": True} for name in self.capabilities])
        if self.parameters:
            qmp.execute("migrate-set-parameters", **self.parameters)

    def migrate(self, qmp: Qmp, target: Path):
        if not self.file:
            uri = f"exec:cat > {shlex.quote(str(target))}"
        else:
            uri = f"file:{target}" + (f",offset={self.offset:#x}" if self.offset else "")
        qmp.execute("migrate", uri=uri)


PLAIN = Save()


def wait_migrated(qmp: Qmp) -> dict:
    """Waits for the end of a migration; returns what QEMU tells about it."""
    deadline = time.monotonic() + _MIGRATE_SECONDS
    while True:
        info = qmp.execute("query-migrate")
        if info.get("status") == "completed":
            return info
        if info.get("status") in ("failed", "cancelled") or time.monotonic() > deadline:
            raise CaptureFailed(f"migration: {info.get('status')}: {info.get('error-desc', 'no reason given')}")
        time.sleep(0.05)


def _copy_sparse(pipe: Path, target: Path):
    """Writes what arrives in a pipe, leaving holes for zeros: most of a big guest's memory is zero."""
    with pipe.open("rb", buffering=0) as source, target.open("wb", buffering=0) as output:
        while block := source.read(_BLOCK):
            if block == _ZEROS[:len(block)]:
                output.seek(len(block), os.SEEK_CUR)
            else:
                output.write(block)
        output.truncate()


def dump_reference(qmp: Qmp, directory: Path):
    pipe = directory / "ref.pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=_copy_sparse, args=(pipe, directory / "ref.elf"), daemon=True)
    writer.start()
    qmp.execute("dump-guest-memory", paging=False, protocol=f"file:{pipe}")
    writer.join()
    pipe.unlink()
    (directory / "registers.txt").write_text(qmp.monitor("info registers -a"))
    (directory / "mtree.txt").write_text(qmp.monitor("info mtree -f"))


def _save_stopped(qmp: Qmp, directory: Path, save: Save):
    qmp.execute("stop")
    dump_reference(qmp, directory)
    _limit(qmp, save.bandwidth)
    save.migrate(qmp, directory / "save.qevm")
    if save.resumes_guest:
        _resume_meanwhile(qmp)
    wait_migrated(qmp)


def _resume_meanwhile(qmp: Qmp):
    """Lets the guest go on once pages are being sent: from then on QEMU sends them before they change.

    QEMU 7.2 does so itself, 10 only if it ran before.
    """
    while not qmp.execute("query-migrate").get("ram", {}).get("normal"):
        time.sleep(0.005)
    qmp.execute("cont")
    if qmp.execute("query-migrate").get("status") == "completed":
        raise CaptureFailed("the save was complete before the guest ran")


def _limit(qmp: Qmp, bandwidth: int):
    # With a downtime limit of 1 ms QEMU makes another pass rather than send the last MiB in one go.
    qmp.execute("migrate-set-parameters", **{"max-bandwidth": bandwidth, "downtime-limit": 1})


def _passes(qmp: Qmp) -> int:
    """Number of the pass over memory a live migration is in; 0 when it is through."""
    info = qmp.execute("query-migrate")
    if info.get("status") in ("failed", "cancelled"):
        raise CaptureFailed(f"live migration: {info.get('error-desc', 'no reason given')}")
    return 0 if info.get("status") == "completed" else info.get("ram", {}).get("dirty-sync-count", 0)


def _let_guest_write(qmp: Qmp, number: int, bandwidth: int):
    """Runs the guest in the middle of pass `number`, so that it changes pages sent before.

    Only there: TCG vCPUs may write to a page just while a new pass clears its dirty bit, and QEMU then
    loses the change. The stream would be stale, and its dump taken afterwards would not.
    """
    while 0 < _passes(qmp) < number:
        time.sleep(0.005)
    if _passes(qmp) != number:
        return  # sent before it could be caught; fewer repeats, but a sound capture
    _limit(qmp, _FROZEN)
    try:
        qmp.execute("cont")
    except QmpError:
        return  # all was sent meanwhile, and QEMU is about to finish
    time.sleep(_WRITE_SECONDS)
    qmp.execute("stop")
    if _passes(qmp) != number:  # or even the last one, and with it the save
        raise _PassEnded(f"pass {number} ended while the guest was running")
    _limit(qmp, bandwidth)


def _save_live(qmp: Qmp, directory: Path, memory_mib: int, save: Save):
    bandwidth = max(24, memory_mib // 40) << 20  # a first pass of some seconds
    qmp.execute("stop")
    _limit(qmp, bandwidth)
    save.migrate(qmp, directory / "save.qevm")
    while _passes(qmp) == 0:
        time.sleep(0.005)
    time.sleep(1)  # into the first pass, so that there are pages to send again
    for number in range(1, save.passes + 1):
        _let_guest_write(qmp, number, bandwidth)
    _limit(qmp, _UNLIMITED)
    ram = wait_migrated(qmp)["ram"]
    sent, pages = ram["normal"] + ram["duplicate"], ram["total"] // ram["page-size"]
    if sent <= pages:
        raise CaptureFailed(f"{sent} pages sent of {pages}: nothing was sent twice, not a live save")
    dump_reference(qmp, directory)


def _capture_once(machine: Machine, kind: str, directory: Path, save: Save):
    with Guest(machine, directory, dirty=kind == LIVE or save.resumes_guest) as guest:
        save.configure(guest.qmp)
        if kind == LIVE:
            _save_live(guest.qmp, directory, machine.memory, save)
        else:
            _save_stopped(guest.qmp, directory, save)


def capture(machine: Machine, kind: str, directory: Path, save: Save = PLAIN) -> Path:
    """Boots the machine and leaves a complete capture in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for attempt in range(_ATTEMPTS):
        try:
            _capture_once(machine, kind, directory, save)
            break
        except _PassEnded:
            if attempt == _ATTEMPTS - 1:
                raise
    for leftover in (*directory.glob("blob*"), directory / "initramfs.cpio", directory / "qmp"):
        leftover.unlink(missing_ok=True)
    return directory
