"""The same input gives the same bytes, however many threads copy and however often."""

import streams
from harness import Case, main


class Repeat(Case):
    def require_same(self, content: bytes, kinds=("elf", "raw", "lime")):
        self.write("in.qevm", content)
        for kind in kinds:
            first = self.output(kind, "--threads", "1")
            for options in (["--threads=1"], ["--threads=2"], ["--threads=64"], ["--no-sparse"], []):
                self.assertEqual(self.output(kind, *options) == first, True, (kind, options))

    def output(self, kind, *options) -> bytes:
        self.convert("in.qevm", "--to", kind, "-f", "-o", "out", *options)
        return (self.folder / "out").read_bytes()

    def test_small(self):
        self.require_same(streams.small().bytes)

    def test_many_units_of_work(self):
        addresses = [*range(0, 0xA0000, 0x3000), *range(1 << 20, 40 << 20, 0x17000)]
        stream = streams.Stream(40 << 20, {address: streams.page(address) for address in addresses})
        self.require_same(stream.bytes)
        self.output("raw", "--threads=64")
        self.assertRaw("out", stream)

    def test_dense(self):
        self.require_same(streams.dense(18 << 20).bytes, ["elf"])

    def test_the_name_of_the_input_does_not_matter(self):
        stream = streams.small()
        self.write("in.qevm", stream.bytes)
        first = self.output("elf")
        self.write("another", stream.bytes)
        self.convert("another", "-o", "copy.elf")
        self.assertEqual((self.folder / "copy.elf").read_bytes() == first, True)
        self.assertEqual(self.convert("-", "--to", "elf", "-o", "-", input=stream.bytes).out == first, True)


if __name__ == "__main__":
    main()
