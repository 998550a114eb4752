"""Help, manual page and docs/usage.md tell of the same options."""

import re
import subprocess

from harness import SOURCE, Case, main, needs

_MANUAL = SOURCE / "docs/man/vmconvert.1"
_USAGE = SOURCE / "docs/usage.md"


def _options_of_manual() -> set[str]:
    """From list items of mdoc(7), as in `.It Fl o , -output Ar OUTPUT`."""
    found = set()
    for line in _MANUAL.read_text().splitlines():
        if line.startswith(".It Fl "):
            flags = line.removeprefix(".It Fl ").split(" Ar ")[0]
            found |= {"-" + flag for flag in flags.split() if flag not in (",", "Fl", "Ns")}
    return found


class Options(Case):
    def setUp(self):
        super().setUp()
        commands = ([], ["info"], ["extract"], ["verify"], ["formats"])
        text = "".join(self.convert(*command, "--help").out.decode() for command in commands)
        named = re.findall(r"(?m)^  (-[^ ]+)", text)
        self.options = {option for names in named for option in names.split(",")}
        self.assertGreater(len(self.options), 15)

    def test_manual_page(self):
        self.assertEqual(_options_of_manual(), self.options)

    def test_usage(self):
        code = "\n".join(re.findall(r"`([^`\n]*)`", _USAGE.read_text()))
        shown = set(re.findall(r"(?<![-\w])--?[a-z][-\w]*", code))
        self.assertEqual(self.options - shown, set())
        unknown = {option for option in shown - self.options if option.startswith("--")}
        self.assertEqual(unknown, set())

    def test_manual_page_and_usage_name_formats_and_suffixes(self):
        text = self.convert("formats").out.decode()
        for document in (_MANUAL, _USAGE):
            for suffix in re.findall(r"\.[a-z]+\b", text.partition("Output formats")[2]):
                self.assertIn(suffix, document.read_text())

    def test_manual_page_and_usage_name_exit_codes(self):
        for document in (_MANUAL, _USAGE):
            content = document.read_text()
            for code in "01234":
                self.assertRegex(content, rf"(?m)^(\.It {code}$|\| {code} \|)", document.name)

    @needs("mandoc")
    def test_manual_page_is_sound(self):
        checked = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", _MANUAL], capture_output=True, text=True)
        self.assertEqual(checked.stdout, "")

    def test_facts_are_explained(self):
        """Each key that a reader gives a fact is in docs/info.md."""
        pattern = r'(?:add|push_back|emplace_back)\(\{?\s*"([a-z0-9_]+\.[-a-z_0-9.]+)"'
        keys = {key for source in (SOURCE / "formats").rglob("*.cpp") for key in re.findall(pattern, source.read_text())}
        self.assertGreater(len(keys), 20)
        explained = set(re.findall(r"`([^`\n]+)`", (SOURCE / "docs/info.md").read_text()))
        self.assertEqual(keys - explained, set())

    def test_links_lead_somewhere(self):
        for document in [SOURCE / "README.md", *sorted((SOURCE / "docs").rglob("*.md"))]:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
                if "://" not in target:
                    self.assertTrue((document.parent / target).exists(), f"{document.name}: {target}")


if __name__ == "__main__":
    main()
