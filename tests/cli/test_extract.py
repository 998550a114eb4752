"""What `vmconvert extract` writes, and what it refuses."""

import struct

from harness import FAILED, SOURCE, Case, main

_NO_SCREEN = ("warning: in.qevm: no screen: the stream has no display device that is known\n"
              "vmconvert: in.qevm: holds no screen")


class Screenshot(Case):
    def test_input_without_a_screen(self):
        self.small()
        self.refuse(_NO_SCREEN, "extract", "in.qevm", "--screenshot", "out.png", code=FAILED)
        self.refuse(_NO_SCREEN, "extract", "in.qevm", "--screenshot", "-", code=FAILED)

    def test_screen_of_a_real_save(self):
        sample = SOURCE / "samples/pc-16m-firmware.qevm.xz"
        png = self.convert("extract", sample, "--screenshot", "-").out
        self.assertEqual(struct.unpack(">8x4x4sII", png[:24]), (b"IHDR", 720, 400))


if __name__ == "__main__":
    main()
