#!/usr/bin/python3
"""Runs every case of consumers and writes what they found into docs/consumers.md.

    consumer_table.py --vmconvert PROGRAM
"""

import argparse
import json
import platform
import subprocess
import tempfile
from pathlib import Path

from cases import CASES
from consumers import CONSUMERS
from context import Context
from matrix import RESULTS

_DOCUMENT = Path(__file__).resolve().parents[2] / "docs/consumers.md"
_BEGIN, _END = "<!-- made by tests/real/consumer_table.py -->\n", "<!-- end of what it makes -->\n"


def _run(name: str, program: Path) -> dict:
    case = CASES[name]
    print(f"== {name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="vmconvert-consumers-", dir="/var/tmp") as folder:
        capture, work = Path(folder) / "capture", Path(folder) / "work"
        work.mkdir()
        case.make_capture(capture)
        case.check(Context(vmconvert=program, capture=capture, work=work))
        return json.loads((work / RESULTS).read_text())


def _table(results: dict) -> str:
    heads = [f"{consumer.name} {consumer.version()}" for consumer in CONSUMERS]
    lines = ["| input | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for row, found in results.items():
        lines.append(f"| {row} | " + " | ".join(found.get(consumer.name, "") for consumer in CONSUMERS) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmconvert", type=lambda text: Path(text).resolve(), required=True)
    options = parser.parse_args()
    results: dict = {}
    for name in (name for name in CASES if name.startswith("consumers-")):
        results |= _run(name, options.vmconvert)
    version = subprocess.run([options.vmconvert, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    text = _DOCUMENT.read_text()
    before, rest = text.split(_BEGIN)
    after = rest.split(_END)[1]
    made = f"\n{version}, {platform.freedesktop_os_release()['PRETTY_NAME']}.\n\n{_table(results)}\n"
    _DOCUMENT.write_text(before + _BEGIN + made + _END + after)


if __name__ == "__main__":
    main()
