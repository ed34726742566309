"""A server that forks processes whose modules are imported already: many starts for one.

Run as a script, it takes requests from a socket: JSON, and four file descriptors, for standard
input, output, error, and the connection to which it reports.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any


def serve(control: socket.socket) -> None:
    """Fork a process for each request, until the other end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, *_ = socket.recv_fds(control, 2**16, 4)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            _attend(json.loads(message), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _attend(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Fork the process; report its id, then its exit status and its most memory in kB."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, number = descriptors
    process = os.fork()
    if process == 0:
        os.close(number)
        _run(request, streams)
    for stream in streams:
        os.close(stream)
    with socket.socket(fileno=number) as connection, contextlib.suppress(OSError):
        connection.sendall(struct.pack("<q", process))
        _, status, usage = os.wait4(process, 0)
        code = os.waitstatus_to_exitcode(status)
        connection.sendall(struct.pack("<qq", code, usage.ru_maxrss))
    os._exit(0)


def _run(request: dict[str, Any], streams: Sequence[int]) -> None:
    """Call a function in the folder, with the arguments and the streams of the request."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # A job in the background ignores these, and so does the server.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    status = 1
    try:
        os.chdir(request["folder"])
        os.environ.update(request["environment"])
        encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
        sys.stdout = os.fdopen(1, "w", encoding=encoding)
        sys.stderr = os.fdopen(2, "w", 1, encoding=encoding, errors="backslashreplace")
        sys.argv = request["argv"]
        function = getattr(importlib.import_module(request["module"]), request["function"])
        status = function(*request["arguments"]) or 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)


class ForkedProcess:
    """A process of a server, with the part of ``subprocess.Popen`` that the package uses.

    After its end, ``memory`` is the most memory in kB that it or a child of it used.
    """

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid, self._connection = pid, connection
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.returncode: int | None = None
        self.memory = 0

    def poll(self) -> int | None:
        """Return the exit status, or ``None`` while the process runs."""
        if self.returncode is None and not select.select([self._connection], [], [], 0)[0]:
            return None
        return self.wait()

    def wait(self) -> int:
        """Wait for the end of the process; return its exit status."""
        if self.returncode is None:
            with self._connection:
                self.returncode, self.memory = struct.unpack("<qq", self._connection.recv(16))
        return self.returncode

    def kill(self) -> None:
        """End the process if it runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(self.pid, signal.SIGKILL)


class ForkServer:
    """A server that has imported ``modules``, also those in ``folder``; the first use starts it."""

    def __init__(self, *modules: str, folder: str = "", **environment: str) -> None:
        self._command = [sys.executable, "-P", __file__, folder, *modules]
        self._environment = {**os.environ, **environment}
        self._server: subprocess.Popen[bytes] | None = None

    def fork(
        self, module: str, function: str, streams: Sequence[int], **more: Any
    ) -> ForkedProcess:
        """Call a function in a process of its own.

        Args:
            module: The module of the function.
            function: Its name.
            streams: Descriptors for standard input, output and error.
            **more: ``arguments`` of the function, ``argv``, the ``folder`` to work in, and
                variables of the ``environment`` to add.
        """
        if self._server is None:
            self._start()
        request = {"module": module, "function": function, "arguments": [], "argv": [], **more}
        request.setdefault("environment", {})
        request["folder"] = str(Path(more.get("folder", ".")).resolve())
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = [*streams, theirs.fileno()]
            socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)
        (pid,) = struct.unpack("<q", ours.recv(8))
        return ForkedProcess(pid, ours)

    def pipe(self, module: str, function: str, **more: Any) -> ForkedProcess:
        """Call a function in a process whose standard input and output are pipes."""
        (their_input, our_input), (our_output, their_output) = os.pipe(), os.pipe()
        with Path(os.devnull).open("wb") as nothing:
            streams = (their_input, their_output, nothing.fileno())
            process = self.fork(module, function, streams, **more)
        os.close(their_input)
        os.close(their_output)
        process.stdin, process.stdout = os.fdopen(our_input, "wb"), os.fdopen(our_output, "rb")
        return process

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._control.close()
            self._server.wait()

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [*self._command, str(theirs.fileno())],
                env=self._environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )


if __name__ == "__main__":
    folder, *modules, descriptor = sys.argv[1:]
    sys.path += [folder] if folder else []
    for name in modules:
        importlib.import_module(name)
    with socket.socket(fileno=int(descriptor)) as control:
        serve(control)
