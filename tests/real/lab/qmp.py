"""A QMP client: QEMU's JSON control protocol over a Unix socket."""

import json
import socket
import time
from pathlib import Path


class QmpError(Exception):
    """QEMU refused a command, or went away."""


class Qmp:
    """One connection. Events are dropped: callers poll the state they wait for."""

    def __init__(self, path: Path, timeout: float = 20.0):
        self._socket = self._connect(path, time.monotonic() + timeout)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._read_message()  # the greeting
        self.execute("qmp_capabilities")

    @staticmethod
    def _connect(path: Path, deadline: float) -> socket.socket:
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(str(path))
                return connection
            except OSError as error:
                connection.close()
                if time.monotonic() > deadline:
                    raise QmpError(f"no QMP socket at {path}: {error}") from error
                time.sleep(0.05)

    def _read_message(self) -> dict:
        line = self._lines.readline()
        if not line:
            raise QmpError("QEMU closed the QMP connection")
        return json.loads(line)

    def execute(self, command: str, **arguments):
        """Runs one command and returns its result."""
        request = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            message = self._read_message()
            if "error" in message:
                raise QmpError(f"{command}: {message['error']['desc']}")
            if "return" in message:
                return message["return"]

    def monitor(self, command_line: str) -> str:
        """Runs a command of the human monitor and returns its text."""
        return self.execute("human-monitor-command", **{"command-line": command_line})

    def close(self):
        self._lines.close()
        self._socket.close()
