"""Runs the program and checks what it promises every time.

Every test program here is run as: VMCONVERT=PROGRAM python3 test_SUBJECT.py
"""

import functools
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import streams

DONE, FAILED, USAGE, LOST = 0, 1, 2, 3
NOBODY = 65534
SOURCE = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("VMCONVERT", "")
_SKIPPED = 77
_NEVER_PRINTED = re.compile(
    rb"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|terminate called|Assertion", re.ASCII
)


class Result:
    """How a run ended: exit code (negative: by that signal), standard output, standard error."""

    def __init__(self, code: int, out: bytes, err: bytes):
        self.code, self.out, self.err = code, out, err


def _matches(pattern: bytes, text: bytes) -> bool:
    """`*` in the pattern stands for any characters of one line."""
    parts = [re.escape(part) for part in pattern.split(b"*")]
    return re.fullmatch(b"[^\n]*".join(parts), text) is not None


def needs(*tools: str):
    """Skips a test, by name, where one of these programs is missing."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return unittest.skipIf(missing, f"needs {', '.join(missing)}")


@functools.cache
def is_sanitized() -> bool:
    """True for a build whose sanitizers need descriptors, threads and memory of their own."""
    return b"__asan_init" in Path(PROGRAM).read_bytes()


def needs_root(test):
    return unittest.skipIf(os.geteuid() != 0, "needs root")(test)


@functools.cache
def _nobody_can_run_it() -> bool:
    if os.geteuid() != 0:
        return True  # nothing to drop
    try:
        return subprocess.run([PROGRAM, "--version"], user=NOBODY, capture_output=True).returncode == 0
    except PermissionError:
        return False


def _remove(folder: Path):
    for where, _, _ in os.walk(folder):
        os.chmod(where, 0o700)  # a test may have taken it away
    shutil.rmtree(folder)


class Case(unittest.TestCase):
    """A test with a folder of its own, in which the program runs, and an empty one for its temporary files."""

    def setUp(self):
        os.umask(0o022)
        self.top = Path(os.path.realpath(tempfile.mkdtemp(prefix="vmconvert-cli-")))
        self.top.chmod(0o755)
        self.addCleanup(_remove, self.top)
        self.folder = self.top / "folder"
        self.temporary = self.top / "tmp"
        self.folder.mkdir()
        self.temporary.mkdir()
        self.temporary.chmod(0o1777)

    # --- inputs ----------------------------------------------------------------------------------

    def write(self, name, content: bytes) -> Path:
        path = self.folder / os.fsdecode(name)
        path.write_bytes(content)
        return path

    def small(self, name="in.qevm") -> streams.Stream:
        stream = streams.small()
        self.write(name, stream.bytes)
        return stream

    # --- runs ------------------------------------------------------------------------------------

    def environment(self, **changes) -> dict:
        environment = dict(os.environ, TMPDIR=str(self.temporary), LC_ALL="C")
        environment.update(changes)
        return {name: value for name, value in environment.items() if value is not None}

    def start(self, *args, wrapper=(), env=None, **options) -> subprocess.Popen:
        """Starts the program in the folder. Standard input is /dev/null unless told otherwise."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        command = [*wrapper, PROGRAM, *args]
        return subprocess.Popen(command, cwd=self.folder, env=env or self.environment(), **options)

    def run_tool(self, *args, code=DONE, input=None, timeout=60, **options) -> Result:
        """Runs the program to its end and requires this exit code."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
        with self.start(*args, **options) as process:
            try:
                out, err = process.communicate(input, timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return self.require(Result(process.returncode, out or b"", err or b""), code)

    def require(self, result: Result, code: int) -> Result:
        self.assertIsNone(_NEVER_PRINTED.search(result.err + result.out), result.err)
        self.assertEqual(result.code, code, result.err)
        self.assertEqual(list(self.temporary.iterdir()), [], "temporary files are left")
        return result

    def convert(self, *args, **options) -> Result:
        """A conversion that succeeds and says nothing."""
        result = self.run_tool(*args, **options)
        self.assertEqual(result.err, b"")
        return result

    def refuse(self, message, *args, code=FAILED, **options) -> Result:
        """A run that fails with exactly this line and changes nothing. `*`: any characters."""
        before = self.state()
        result = self.run_tool(*args, code=code, **options)
        expected = b"vmconvert: " + os.fsencode(message) + b"\n"
        self.assertTrue(_matches(expected, result.err), f"\nexpected {expected!r}\ngot      {result.err!r}")
        self.assertEqual(result.out, b"")
        self.assertEqual(self.state(), before, "the folder changed")
        return result

    def state(self) -> dict:
        """Everything in the folder: name, kind and mode, inode; of what is no folder, size and last change."""
        found = {}
        for where, folders, files in os.walk(os.fsencode(self.folder)):
            for name in folders + files:
                status = os.lstat(os.path.join(where, name))
                content = (status.st_size, status.st_mtime_ns) if name in files else ()
                found[where, name] = (status.st_mode, status.st_ino, *content)
        return found

    def names(self) -> set:
        return {os.fsdecode(name) for name in os.listdir(self.folder)}

    def tracing(self, *options) -> dict:
        """Options for a run under strace, which must not stand in the way of AddressSanitizer."""
        wrapper = ["strace", "-f", "-o", "/dev/null"]
        if subprocess.run([*wrapper, "true"], capture_output=True).returncode != 0:
            self.skipTest("strace may not trace here")
        return {"wrapper": [*wrapper, *options], "env": self.environment(ASAN_OPTIONS="detect_leaks=0")}

    def nobody(self) -> dict:
        """Options for a run as a user without privileges; the folder's modes count again."""
        if not _nobody_can_run_it():
            self.skipTest("an unprivileged user cannot run the program where it was built")
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}

    # --- others -----------------------------------------------------------------------------------

    def assertRaw(self, name, stream: streams.Stream):
        self.assertEqual((self.folder / os.fsdecode(name)).read_bytes() == stream.raw(), True, "wrong content")

    def terminal(self) -> tuple[int, int]:
        """Both ends of a new terminal: ours and the program's."""
        try:
            ends = pty.openpty()
        except OSError as error:
            self.skipTest(f"no terminal: {error}")
        for end in ends:
            self.addCleanup(os.close, end)
        return ends

    def wait_until(self, condition, process: subprocess.Popen, seconds=20):
        """Waits for something a running program does."""
        deadline = time.monotonic() + seconds
        while not condition():
            if process.poll() is not None:
                self.fail(f"the program ended with {process.returncode} before")
            if time.monotonic() > deadline:
                process.kill()
                self.fail("the program did not get there in time")
            time.sleep(0.001)


def main():
    """Runs the tests of the calling program; exit code 77 if every one of them was skipped."""
    if not os.access(PROGRAM, os.X_OK):
        sys.exit("set VMCONVERT to the program under test")
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun and len(result.skipped) == result.testsRun:
        sys.exit(_SKIPPED)
