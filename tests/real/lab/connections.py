"""Captures what a multifd migration sends over each of its connections.

QEMU refuses multifd without mapped-ram for anything but sockets. Whoever records such sockets gets a
main stream without the pages, and connections without the stream.
"""

import socket
import threading
from pathlib import Path

from .capture import Save, wait_migrated
from .guest import Guest, Machine

_BLOCK = 1 << 20


class _Recorder:
    """Accepts connections at a Unix socket and writes what each brings to a file of its own."""

    def __init__(self, address: Path):
        self._directory = address.parent
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(address))
        self._socket.listen()
        self._threads: list[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self._socket.accept()
            thread = threading.Thread(target=self._record, args=(connection, len(self._threads)), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _record(self, connection: socket.socket, number: int):
        with (self._directory / f"connection{number}").open("wb") as file:
            while block := connection.recv(_BLOCK):
                file.write(block)

    def wait(self):
        for thread in self._threads:
            thread.join()


def capture_connections(machine: Machine, directory: Path):
    """Leaves the files connection0, connection1, ... in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    address = directory / "socket"
    with Guest(machine, directory) as guest:
        guest.qmp.execute("stop")
        Save(capabilities=("multifd",)).configure(guest.qmp)
        recorder = _Recorder(address)
        guest.qmp.execute("migrate", uri=f"unix:{address}")
        wait_migrated(guest.qmp)
    recorder.wait()
    address.unlink()
