#!/usr/bin/python3
"""Runs one real-guest test, or lists them.

    run.py --list [--label LABEL]
    run.py CASE --vmconvert PROGRAM [--work DIR] [--capture DIR] [--keep]
    run.py CASE --capture DIR --capture-only

Exit code: 0 passed, 1 failed, 77 skipped because this machine lacks something.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from cases import CASES, Case
from compare import Different
from context import Context, Failed
from images import BadImage
from lab.capture import CaptureFailed
from lab.guest import GuestFailed
from lab.paths import Missing
from lab.qmp import QmpError

_SKIPPED = 77
_COMPLETE = "complete"  # written last into a capture directory, so that a broken one is not taken for one


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="?", choices=sorted(CASES), metavar="CASE")
    parser.add_argument("--list", action="store_true", help="print the cases and their labels")
    parser.add_argument("--label", help="with --list: only cases with this label, names alone")
    parser.add_argument("--vmconvert", type=Path, help="the program under test")
    parser.add_argument("--work", type=Path, help="directory for captures and outputs [a temporary one]")
    parser.add_argument("--capture", type=Path, help="take the capture from this directory, or make it there")
    parser.add_argument("--capture-only", action="store_true", help="make the capture, convert nothing")
    parser.add_argument("--keep", action="store_true", help="leave the work directory, and print where it is")
    options = parser.parse_args()
    if not options.list and options.case is None:
        parser.error("CASE or --list is needed")
    if options.case and not options.capture_only and options.vmconvert is None:
        parser.error("--vmconvert is needed")
    if options.capture_only and options.capture is None:
        parser.error("--capture-only needs --capture")
    return options


def _print_list(label: str | None):
    for case in CASES.values():
        if label is None:
            print(f"{case.label}\t{case.name}")
        elif case.label == label:
            print(case.name)


def _make_capture(case: Case, directory: Path):
    if (directory / _COMPLETE).exists():
        return
    started = time.monotonic()
    case.make_capture(directory)
    (directory / _COMPLETE).touch()
    print(f"captured in {time.monotonic() - started:.1f} s")


def _run_case(case: Case, options: argparse.Namespace, work: Path):
    capture = options.capture or work / "capture"
    _make_capture(case, capture)
    if options.capture_only:
        return
    outputs = work / "outputs"
    outputs.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    case.check(Context(vmconvert=options.vmconvert.resolve(), capture=capture, work=outputs))
    print(f"checked in {time.monotonic() - started:.1f} s")


def _outcome(case: Case, options: argparse.Namespace, work: Path) -> int:
    try:
        _run_case(case, options, work)
    except Missing as error:
        print(f"SKIPPED: {case.name}: needs {error}")
        return _SKIPPED
    except (Failed, Different, BadImage, CaptureFailed, GuestFailed, QmpError) as error:
        print(f"FAILED: {case.name}: {error}")
        return 1
    return 0


def main() -> int:
    options = _options()
    if options.list:
        _print_list(options.label)
        return 0
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    # Not /tmp, which may be a small tmpfs: outputs have the size of the guest.
    work = Path(tempfile.mkdtemp(prefix=f"vmconvert-{options.case}-", dir=options.work or "/var/tmp"))
    try:
        return _outcome(CASES[options.case], options, work)
    finally:
        if options.keep:
            print(f"kept {work}")
        else:
            shutil.rmtree(work)


if __name__ == "__main__":
    sys.exit(main())
