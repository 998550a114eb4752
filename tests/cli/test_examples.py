"""Runs the examples of the documentation.

In blocks marked `console`, lines that begin with "$ " are commands (one that ends with a backslash goes
on in the next line) and what follows is what they print, standard output and error together. `...`
stands for anything in a line, and alone in a line for any number of lines. All blocks of a document run
one after the other in one folder, which holds samples/.
"""

import re
import shutil
import subprocess
from pathlib import Path

from harness import PROGRAM, SOURCE, Case, main

_DOCUMENTS = ["README.md", "CHANGELOG.md", "samples/README.md", *(
    str(path.relative_to(SOURCE)) for path in sorted((SOURCE / "docs").rglob("*.md"))
)]


def examples(text: str) -> list[tuple[str, str]]:
    """Commands and what they print."""
    found = []
    for block in re.findall(r"(?ms)^```console\n(.*?)^```$", text):
        continued = False
        for line in block.splitlines():
            if continued:
                found[-1][0] += "\n" + line.removeprefix("> ")
            elif line.startswith("$ "):
                found.append([line.removeprefix("$ "), ""])
            elif found:
                found[-1][1] += line + "\n"
            else:
                raise ValueError(f"output before the first command: {line}")
            continued = found[-1][1] == "" and line.endswith("\\")
    return [(command, output) for command, output in found]


def _pattern(expected: str) -> str:
    lines = []
    for line in expected.splitlines():
        if line == "...":
            lines.append(r"(?:[^\n]*\n)*")
        else:
            lines.append(r"[^\n]*".join(re.escape(part) for part in line.split("...")) + r"\n")
    return "".join(lines)


class Examples(Case):
    def run_examples(self, document: str):
        shutil.copytree(SOURCE / "samples", self.folder / "samples")
        programs = self.top / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "vmconvert").symlink_to(Path(PROGRAM).resolve())
        environment = self.environment()
        environment["PATH"] = f"{programs}:{environment['PATH']}"
        code = 0
        for command, expected in examples((SOURCE / document).read_text()):
            with self.subTest(document=document, command=command):
                # The first line is for an example that shows `echo $?`.
                script = f"(exit {code})\n{command}"
                done = subprocess.run(
                    ["bash", "-c", script],
                    cwd=self.folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    timeout=60,
                )
                code = done.returncode
                printed = done.stdout.decode(errors="backslashreplace")
                if re.fullmatch(_pattern(expected), printed) is None:
                    self.fail(f"\n--- documented\n{expected}--- printed\n{printed}")

    def test_the_rules(self):
        """Of the runner itself."""
        text = "```console\n$ a \\\n> b\nout\n...\n$ c\n```\n```sh\n$ no\n```\n```console\n$ d\n```\n"
        self.assertEqual(examples(text), [("a \\\nb", "out\n...\n"), ("c", ""), ("d", "")])
        for expected, printed, same in (
            ("a\n", "a\n", True),
            ("a\n", "ab\n", False),
            ("a...c\n", "a b.c\n", True),
            ("a...c\n", "a\nc\n", False),
            ("...\n", "", True),
            ("a\n...\nd\n", "a\nb\nc\nd\n", True),
            ("a\n", "a\nb\n", False),
        ):
            self.assertEqual(re.fullmatch(_pattern(expected), printed) is not None, same, (expected, printed))

    def test_there_are_some(self):
        self.assertGreater(len(examples((SOURCE / "README.md").read_text())), 2)


def _add(document: str):
    name = "test_" + re.sub(r"\W+", "_", document)
    setattr(Examples, name, lambda self: self.run_examples(document))


for _document in _DOCUMENTS:
    if (SOURCE / _document).exists() and examples((SOURCE / _document).read_text()):
        _add(_document)

if __name__ == "__main__":
    main()
