"""Checks of Xen's files: the toolstack's save, where page tables are translated, tells what a core converts to."""

import struct
from pathlib import Path
from typing import Callable

import images
import xen_files
from consumers import Subject
from context import Context, Failed
from lab.xen import MINI_HOLES, MINI_PAGES, MINI_REGISTERS

PAGE = xen_files.PAGE
_HYPERVISOR_SLOTS = range(256, 272)  # of the uppermost table
_PRSTATUS, _REGISTERS = 1, 112       # type of the note, offset of the registers in it
_NAMES = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags rsp ss "
          "fs_base gs_base ds es fs gs").split()
_COMPARED = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi rip rflags rsp".split()
_QEMU_CR3 = 416                      # offset in QEMU's note
_KERNEL_IMAGE = 0xFFFFFFFF80000000   # not moved in a PV guest
# Of the first vCPU, between a save and what xenctx shows afterwards: rax tells the guest whether it was restored or, as
# xl lets it be once it is saved, goes on; rdx where its start_info is, in a save by pfn.
_CHANGED = ("rax", "rdx")


class _State:
    """One state of a guest, and what it converts to."""

    def __init__(self, context: Context, guest: str, state: str):
        self.context = context
        self.folder = context.capture / guest / state
        self.name = f"{guest}-{state}"
        self.vcpus = [xen_files.context(self.folder / f"xenctx{number}")
                      for number in range(len(list(self.folder.glob("xenctx*"))))]

    @property
    def core(self) -> Path:
        return self.folder / "guest.core"

    @property
    def save(self) -> Path:
        return self.folder / "guest.save"

    @property
    def subject(self) -> Subject:
        return Subject(self.core, self.folder, self.context.work)

    def convert(self, source: Path, to: str = "elf", *options: str) -> Path:
        output = self.context.work / f"{self.name}-{source.suffix[1:]}.{to}"
        self.context.run(source, "-o", output, "-f", "--to", to, *options)
        return output


def _frames(image: images.Image) -> set[int]:
    return {pfn for begin, end in image.ranges() for pfn in range(begin // PAGE, end // PAGE)}


def _entries(page: bytes) -> tuple[int, ...]:
    return struct.unpack("<512Q", page)


def _untranslated(before: bytes, after: bytes, m2p: dict[int, int]) -> tuple[int, list[int]]:
    """(entries cleared, slots that changed in a way that no translation of page-table entries explains)."""
    cleared, wrong = 0, []
    for slot, (old, new) in enumerate(zip(_entries(before), _entries(after))):
        if old == new:
            continue
        frame = (old & xen_files.FRAME) >> 12
        if new == 0 and old & 1 and (frame not in m2p or slot in _HYPERVISOR_SLOTS):
            cleared += 1
        elif not old & 1 or (new & ~xen_files.FRAME, new & xen_files.FRAME) != (
                old & ~xen_files.FRAME, m2p.get(frame, xen_files.NONE) << 12):
            wrong.append(slot)
    return cleared, wrong


def check_translation(core: xen_files.Core, image: images.Image):
    """Every page is in the image, as it was or with frames translated by the core's own list."""
    m2p = {mfn: pfn for pfn, mfn in core.frames.items()}
    frames = _frames(image)
    missing, more = core.at.keys() - frames, frames - core.at.keys()
    if missing or any(pfn <= max(core.at) for pfn in more):
        raise Failed(f"{image.path.name}: {len(missing)} pages are missing, {len(more)} are more than in the core")
    tables = cleared = 0
    for pfn in core.at:
        before, after = core.read(pfn), image.read(pfn * PAGE, PAGE)
        if before != after:
            tables += 1
            gone, wrong = _untranslated(before, after, m2p)
            cleared += gone
            if wrong:
                raise Failed(f"{image.path.name}: page {pfn:#x} differs from the core's in entries {wrong[:8]}")
    print(f"{image.path.name}: {len(core.at)} pages, {tables} translated, {cleared} entries cleared, {len(more)} added")


def _why(pfn: int, core: xen_files.Core, save: xen_files.Save) -> str | None:
    """Why a page may differ between the core's conversion and the save."""
    if save.types[pfn] == 0 and _entries(core.read(pfn))[258] & xen_files.FRAME == core.frames[pfn] << 12:
        return "freed uppermost table"
    level = save.types[pfn]
    if level in (1, 2, 3):
        used = any((entry & xen_files.FRAME) >> 12 == core.frames[pfn]
                   for other, kind in save.types.items() if kind == level + 1
                   for entry in _entries(core.read(other)) if entry & 1)
        return None if used else f"table of level {level} that no other refers to"
    return None


def _check_against_save(state: _State, core: xen_files.Core, image: images.Image):
    """The core converts to what the toolstack wrote into the save, but for a few named pages."""
    save = xen_files.Save(state.save)
    if save.at.keys() != core.at.keys():
        raise Failed(f"{state.name}: save and core hold different pages: {len(save.at)}, {len(core.at)}")
    different = [pfn for pfn in save.at if image.read(pfn * PAGE, PAGE) != save.read(pfn)]
    reasons = {pfn: _why(pfn, core, save) for pfn in different}
    for pfn, why in reasons.items():
        print(f"{state.name}: page {pfn:#x} is not the save's: {why}")
    if unexplained := [hex(pfn) for pfn, why in reasons.items() if why is None]:
        raise Failed(f"{state.name}: {len(unexplained)} pages differ from the save: {unexplained[:8]}")
    tables = sum(1 for kind in save.types.values() if kind)
    print(f"{state.name}: {len(save.at)} pages, {tables} of them tables, {len(different)} not as in the save")
    save.close()


def _check_save(state: _State) -> Path:
    """A save holds everything as it has to be: all pages, byte for byte."""
    output = state.convert(state.save)
    save = xen_files.Save(state.save)
    with images.open_vmcore(output) as image:
        missing = save.at.keys() - _frames(image)
        if missing or any(image.read(pfn * PAGE, PAGE) != save.read(pfn) for pfn in save.at):
            raise Failed(f"{output.name}: is not what the save holds")
    save.close()
    return output


def _check_registers(vcpus: list[dict[str, int]], output: Path, m2p: dict[int, int], changed: tuple[str, ...] = ()):
    """Of each vCPU, but for those `changed` of the first."""
    found = images.notes(output)
    prstatus = [desc for name, kind, desc in found if (name, kind) == ("CORE", _PRSTATUS)]
    if len(prstatus) != len(vcpus):
        raise Failed(f"{output.name}: {len(prstatus)} vCPUs instead of {len(vcpus)}")
    for number, (note, expected) in enumerate(zip(prstatus, vcpus)):
        actual = dict(zip(_NAMES, struct.unpack_from("<27Q", note, _REGISTERS)))
        for register in (*_COMPARED, "cs", "ss"):
            ours, theirs = actual[register], expected[register]
            if register in ("cs", "ss"):   # the ring of a PV kernel is shown as that of any kernel
                ours, theirs = ours | 3, theirs | 3
            if ours != theirs and not (number == 0 and register in changed):
                raise Failed(f"{output.name}: vCPU {number}: {register} is {ours:#x}, not {theirs:#x}")
    for number, note in enumerate(desc for name, _, desc in found if name == "QEMU"):
        cr3, theirs = struct.unpack_from("<Q", note, _QEMU_CR3)[0], vcpus[number]["cr3"]
        expected = m2p[theirs >> 12] << 12 if m2p else theirs
        if cr3 & xen_files.FRAME != expected & xen_files.FRAME:
            raise Failed(f"{output.name}: vCPU {number}: CR3 is {cr3:#x} instead of {expected:#x}")
    print(f"{output.name}: {len(prstatus)} vCPUs with their registers")


def _check_tables(state: _State, core: xen_files.Core, image: images.Image):
    """With nothing but the image: the kernel's banner, and in vmalloc space the p2m list, which the core has too."""
    console = (state.folder.parent / "console.log").read_text(errors="replace")
    root = int(console.split(" D init_top_pgt")[0].split()[-1], 16)
    tables = xen_files.Tables(image, root - _KERNEL_IMAGE)
    banner = state.subject.banner.encode()
    if tables.read(state.subject.banner_address, len(banner)) != banner:
        raise Failed(f"{image.path.name}: the page tables do not lead to the kernel's banner")
    last = max(core.frames)
    p2m = struct.unpack(f"<{last + 1}Q", tables.read(core.p2m_address, 8 * (last + 1)))
    if wrong := [pfn for pfn, mfn in core.frames.items() if p2m[pfn] & (1 << 62) - 1 != mfn]:
        raise Failed(f"{image.path.name}: the p2m list at {core.p2m_address:#x} is not the guest's at {wrong[:8]}")
    print(f"{image.path.name}: banner and {last + 1} entries of the p2m list read through its page tables")


def _check_same(state: _State, core: xen_files.Core, elf: images.Image):
    """Raw and LiME hold the same memory, and no more of it."""
    for to, opened in (("raw", images.open_raw), ("lime", images.open_lime)):
        output = state.convert(state.core, to)
        with opened(output) as image:
            if to == "lime" and _frames(image) != core.at.keys():
                raise Failed(f"{output.name}: other pages than in the core")
            if any(image.read(pfn * PAGE, PAGE) != elf.read(pfn * PAGE, PAGE) for pfn in core.at):
                raise Failed(f"{output.name}: other memory than in the vmcore")
            if image.segments[-1].end > (max(core.at) + 1) * PAGE:
                raise Failed(f"{output.name}: goes on behind the guest's memory")
        output.unlink()


def _check_core(state: _State, then: Callable[..., None] | None = None) -> Path:
    output = state.convert(state.core)
    core = xen_files.Core(state.core)
    with images.open_vmcore(output) as image:
        check_translation(core, image)
        _check_same(state, core, image)
        m2p = {mfn: pfn for pfn, mfn in core.frames.items()}
        _check_registers(core.contexts(), output, m2p)
        if state.vcpus:   # not of a guest that is gone
            _check_registers(state.vcpus, output, m2p)
        if then:
            then(state, core, image)
    core.close()
    return output


def check_running(guest: str, state: str = "run") -> Callable[[Context], None]:
    """A PV guest of Linux in the middle of something."""
    return lambda context: _check_core(_State(context, guest, state), _check_tables) and None


def check_crashed(guest: str) -> Callable[[Context], None]:
    """A PV guest that panicked with a vCPU offline, which is in the core all the same."""
    def check(context: Context):
        check_running(guest, "crashed")(context)
        core = xen_files.Core(_State(context, guest, "crashed").core)
        if [vcpu["online"] for vcpu in core.contexts()] != [1, 0]:
            raise Failed(f"{guest}: the guest did not take its second vCPU offline")
        core.close()
    return check


def check_saved(guest: str) -> Callable[[Context], None]:
    """The same state of a PV guest of Linux as core and as save."""
    def check(context: Context):
        state = _State(context, guest, "saved")
        _check_core(state, _check_tables)
        core = xen_files.Core(state.core)
        with images.open_vmcore(state.convert(state.core)) as image:
            _check_against_save(state, core, image)
        output = _check_save(state)
        _check_registers(state.vcpus, output, {mfn: pfn for pfn, mfn in core.frames.items()}, _CHANGED)
        core.close()
    return check


def check_bare(guest: str, state: str = "run") -> Callable[[Context], None]:
    """Without a container, page tables are translated as with it."""
    def check(context: Context):
        base = _State(context, guest, state)
        core = xen_files.Core(base.core)
        with images.open_raw(base.convert(base.core, "raw")) as expected:
            for source, to, opened in ((xen_files.write_raw(core, context.work / "bare.raw"), "raw", images.open_raw),
                                       (xen_files.write_lime(core, context.work / "bare.lime"), "lime",
                                        images.open_lime)):
                with opened(base.convert(source, to, "--from", to)) as image:
                    different = [pfn for pfn in core.at
                                 if image.read(pfn * PAGE, PAGE) != expected.read(pfn * PAGE, PAGE)]
                if different:
                    raise Failed(f"{base.name}: bare {to}: {len(different)} pages are not as from the core, the first "
                                 f"{[hex(pfn) for pfn in different[:8]]}")
                print(f"{base.name}: bare {to}: {len(core.at)} pages as from the core")
        core.close()
    return check


def check_mini(context: Context):
    """A guest that wrote into its pages which they are, and whose registers we chose."""
    for name, sources in (("run", ("core",)), ("saved", ("core", "save"))):
        state = _State(context, "mini", name)
        for source in sources:
            output = state.convert(state.folder / f"guest.{source}")
            with images.open_vmcore(output) as image:
                _check_mini_pages(image)
            if name == "run":
                note = next(desc for owner, kind, desc in images.notes(output) if kind == _PRSTATUS)
                actual = dict(zip(_NAMES, struct.unpack_from("<27Q", note, _REGISTERS)))
                if wrong := [key for key, value in MINI_REGISTERS.items() if actual[key] != value]:
                    raise Failed(f"mini: registers {wrong} are not what the guest set them to")
        core = xen_files.Core(state.core)
        with images.open_vmcore(state.convert(state.core)) as image:
            check_translation(core, image)
            if name == "saved":
                _check_against_save(state, core, image)
                _check_save(state)
        core.close()


def _check_mini_pages(image: images.Image):
    frames = _frames(image)
    if MINI_HOLES & frames or not set(MINI_PAGES) - MINI_HOLES <= frames:
        raise Failed(f"{image.path.name}: holes are not where the guest made them")
    for pfn in set(MINI_PAGES) - MINI_HOLES:
        page = image.read(pfn * PAGE, PAGE)
        mark = 0x564D434F4E560000 + pfn
        if (_entries(page)[0], _entries(page)[511]) != (mark, mark ^ xen_files.NONE):
            raise Failed(f"{image.path.name}: page {pfn:#x} is another")


def check_pvh(guest: str) -> Callable[[Context], None]:
    """A PVH guest: nothing to translate; a core lacks what xl leaves out."""
    def check(context: Context):
        state = _State(context, guest, "saved")
        output = _check_save(state)
        _check_registers(state.vcpus, output, {}, _CHANGED)
        if not state.core.exists():
            return
        save, core = xen_files.Save(state.save), xen_files.Core(state.core)
        with images.open_vmcore(state.convert(state.core)) as image:
            check_translation(core, image)
        both = core.at.keys() & save.at.keys()
        if wrong := [hex(pfn) for pfn in both if core.read(pfn) != save.read(pfn)]:
            raise Failed(f"{state.name}: {len(wrong)} pages differ from the save: {wrong[:8]}")
        left_out = save.at.keys() - core.at.keys()
        if wrong := [hex(pfn) for pfn in left_out if not (0xA0 <= pfn < 0xC0 or 0xF0000 <= pfn < 0x100000)]:
            raise Failed(f"{state.name}: the core lacks {wrong[:8]}")
        print(f"{state.name}: {len(both)} pages equal, {len(left_out)} left out by xl, "
              f"{len(core.at.keys() - save.at.keys())} of the hypervisor in the core alone")
        core.close()
        save.close()
    return check
