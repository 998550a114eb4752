"""What a check is given, and how it calls vmconvert."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

FORMATS = ("elf", "raw", "lime")


class Failed(Exception):
    """A check found something wrong; the text says what."""


@dataclass(frozen=True)
class Context:
    """One running test: the program, the capture it converts, and a directory for outputs.

    `options` go to every conversion: what the save cannot tell and the user has to.
    """

    vmconvert: Path
    capture: Path
    work: Path
    options: tuple[str, ...] = ()

    @property
    def save(self) -> Path:
        return self.capture / "save.qevm"

    def run(self, *arguments: str | Path, expect: int = 0, **options) -> subprocess.CompletedProcess:
        """Runs vmconvert and requires its exit code."""
        command = [str(argument) for argument in (self.vmconvert, *arguments)]
        options.setdefault("stdout", subprocess.PIPE)
        result = subprocess.run(command, stderr=subprocess.PIPE, check=False, **options)
        if result.returncode != expect:
            raise Failed(f"exit code {result.returncode}, expected {expect}: {' '.join(command)}: "
                         f"{result.stderr.decode(errors='replace').strip()[-800:]}")
        return result

    def convert(self, output_format: str, source: Path | None = None, name: str = "out") -> Path:
        """Converts the capture, or `source`, and returns the output's path."""
        output = self.work / f"{name}.{output_format}"
        self.run(source or self.save, "-o", output, "--to", output_format, *self.options)
        return output
