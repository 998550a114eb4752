"""Signals end the program as they should, and take the unfinished output away."""

import os
import signal
import subprocess
import threading

import streams
from harness import Case, main

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending(Case):
    def end(self, process, number):
        process.send_signal(number)
        process.wait(timeout=20)
        out, err = process.communicate()
        self.assertEqual(process.returncode, -number)
        self.assertEqual((out, err), (b"", b""))
        self.assertEqual(list(self.temporary.iterdir()), [])

    def test_while_a_pipe_is_read(self):
        content = streams.small().bytes
        for number in SIGNALS:
            process = self.start("-", "-o", "out.raw", stdin=subprocess.PIPE, bufsize=0)
            process.stdin.write(content[:10000])
            self.wait_until(lambda: self.has_open(process, str(self.temporary)), process)
            self.end(process, number)
            self.assertEqual(self.names(), set())

    def has_open(self, process, folder: str) -> bool:
        """True once it has a file there, which has no name."""
        descriptors = f"/proc/{process.pid}/fd"
        for name in os.listdir(descriptors):
            try:
                if os.readlink(f"{descriptors}/{name}").startswith(folder):
                    return True
            except FileNotFoundError:
                pass
        return False

    def test_in_the_last_moment(self):
        """The input ends right after the signal came: it still decides how the program ends."""
        content = streams.small().bytes
        for number in SIGNALS * 5:
            process = self.start("-", "-o", "out.raw", stdin=subprocess.PIPE, bufsize=0)
            process.stdin.write(content[:10000])
            self.wait_until(lambda: self.has_open(process, str(self.temporary)), process)
            process.send_signal(number)
            process.communicate(timeout=20)
            self.assertEqual(process.returncode, -number)
            self.assertEqual(self.names(), set())

    def test_while_a_fifo_has_no_writer(self):
        os.mkfifo(self.folder / "in.fifo")
        for number in SIGNALS:
            process = self.start("in.fifo", "-o", "out.raw")
            self.wait_until(lambda: self.threads(process) == 2, process)  # the one that waits for signals
            self.end(process, number)
            self.assertEqual(self.names(), {"in.fifo"})

    def threads(self, process) -> int:
        return len(os.listdir(f"/proc/{process.pid}/task"))

    def test_while_the_output_is_written(self):
        self.write("in.qevm", streams.sparse(2 << 30).bytes)
        for number in SIGNALS:
            for threads in ("1", "4"):
                process = self.start("in.qevm", "--no-sparse", "-o", "out.raw", "--threads", threads)
                self.wait_until(lambda: any(name.endswith(".tmp") for name in self.names()), process)
                self.end(process, number)
                self.assertEqual(self.names(), {"in.qevm"})

    def test_an_existing_output_stays(self):
        self.write("in.qevm", streams.sparse(2 << 30).bytes)
        self.write("out.raw", b"precious")
        process = self.start("in.qevm", "--no-sparse", "-f", "-o", "out.raw")
        self.wait_until(lambda: len(self.names()) == 3, process)
        self.end(process, signal.SIGTERM)
        self.assertEqual(self.names(), {"in.qevm", "out.raw"})
        self.assertEqual((self.folder / "out.raw").read_bytes(), b"precious")

    def test_at_any_time(self):
        """Whatever it was doing: all of the output or nothing, and never an unfinished file."""
        stream = streams.dense(4 << 20)
        self.write("in.qevm", stream.bytes)
        for step in range(60):
            process = self.start("in.qevm", "-o", "out.raw")
            timer = threading.Timer(step * 0.0002, process.send_signal, [signal.SIGINT])
            timer.start()
            process.communicate(timeout=20)
            timer.join()
            self.assertIn(process.returncode, (0, -signal.SIGINT))
            self.assertEqual(self.names() - {"out.raw"}, {"in.qevm"})
            if "out.raw" in self.names():
                self.assertRaw("out.raw", stream)
                (self.folder / "out.raw").unlink()
            else:
                self.assertEqual(process.returncode, -signal.SIGINT)


class Ignored(Case):
    def test_what_the_caller_ignores_stays_ignored(self):
        """nohup does so with SIGHUP, a shell with SIGINT for what it runs in the background."""
        stream = streams.small()
        os.mkfifo(self.folder / "in.fifo")
        for number in SIGNALS:
            ignore = lambda number=number: signal.signal(number, signal.SIG_IGN)
            process = self.start("in.fifo", "-f", "-o", "out.raw", preexec_fn=ignore)
            with open(self.folder / "in.fifo", "wb") as fifo:
                fifo.write(stream.bytes[:20000])
                fifo.flush()
                process.send_signal(number)
                fifo.write(stream.bytes[20000:])
            self.assertEqual(process.communicate(timeout=20), (b"", b""))
            self.assertEqual(process.returncode, 0)
            self.assertRaw("out.raw", stream)

    def test_the_signal_that_is_used_inside(self):
        """From outside it does nothing; above all it does not make the program deaf to others."""
        process = self.start("-", "-o", "out.raw", stdin=subprocess.PIPE, bufsize=0)
        self.wait_until(lambda: len(os.listdir(f"/proc/{process.pid}/task")) == 2, process)
        for _ in range(3):
            process.send_signal(signal.SIGUSR1)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=20), -signal.SIGINT)
        process.communicate()

    def test_stop_and_continue(self):
        stream = streams.small()
        process = self.start("-", "-o", "out.raw", stdin=subprocess.PIPE, bufsize=0)
        process.stdin.write(stream.bytes[:20000])
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGCONT)
        process.stdin.write(stream.bytes[20000:])
        self.assertEqual(process.communicate(timeout=20), (b"", b""))
        self.assertRaw("out.raw", stream)


if __name__ == "__main__":
    main()
