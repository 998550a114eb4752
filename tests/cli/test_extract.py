"""What `vmconvert extract` writes, and what it refuses."""

from harness import FAILED, Case, main


class Screenshot(Case):
    def test_input_without_a_screen(self):
        self.small()
        self.refuse("in.qevm: holds no screen", "extract", "in.qevm", "--screenshot", "out.png", code=FAILED)
        self.refuse("in.qevm: holds no screen", "extract", "in.qevm", "--screenshot", "-", code=FAILED)


if __name__ == "__main__":
    main()
