"""One process that has imported the program, and from which the parties of a simulation are forked.

Importing takes a party longer than a short training does. A fork has the modules at once, and a memory of its own from
then on: nothing but imported code is there before it, no key, no random state that protects anybody (which the system
gives each party for itself), no other party's file. The launcher is at the other end of a socket: a line with a party's
arguments, and with it what is to be its stdin and its stderr, makes one; its process id and, later, its exit code come
back. Parties between machines are started by themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import queue
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TextIO

from secure_fair.errors import ProcessFailed
from secure_fair.scenarios.threads import environment_of_party

TRAINING = (
    "secure_fair.parties.auditor",
    "secure_fair.parties.dealer",
    "secure_fair.parties.developer",
    "secure_fair.parties.training",
    "secure_fair.learning.adversary",
    "secure_fair.learning.sensitive",
    "secure_fair.scenarios.cli.main",
    "secure_fair.scenarios.party_process",
)
AUDIT = (
    "secure_fair.parties.audit",
    "secure_fair.parties.auditor",
    "secure_fair.parties.dealer",
    "secure_fair.scenarios.cli.main",
    "secure_fair.scenarios.party_process",
)
PROGRAM = "secure_fair"
LINE = 1 << 16  # bytes of a request that are taken at a time
PATIENCE = 120.0  # seconds until it has imported everything
SET_NAME = 15  # prctl's PR_SET_NAME


class Forked:
    """A party's process, as ``subprocess.Popen`` shows one."""

    def __init__(self, pid: int, stdin: int, stderr: TextIO, ended: Callable[[int, float | None], int | None]) -> None:
        self.pid = pid
        self.stderr = stderr
        self._stdin = stdin  # nothing is written there: that it ends tells the party that the launcher has
        self._ended = ended

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None as long as it runs."""
        return self._ended(self.pid, 0.0)

    def wait(self, timeout: float | None = None) -> int:
        """The same once it has ended; TimeoutExpired where it has not in so many seconds."""
        code = self._ended(self.pid, timeout)
        if code is None:
            raise subprocess.TimeoutExpired("party", timeout or 0.0)
        return code

    def terminate(self) -> None:
        """Tell it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Give back what this process has of it, once it has ended."""
        with contextlib.suppress(OSError):
            os.close(self._stdin)

    def _signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Nursery:
    """The launcher's end. A context: with it the process ends that all are forked from; parties are ended by others."""

    def __init__(self, modules: Sequence[str]) -> None:
        """Starts importing ``modules``, and returns at once."""
        self._line, far = socket.socketpair()
        with far:
            command = [sys.executable, "-m", __name__, str(far.fileno()), *modules]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[far.fileno()],
                env=environment_of_party(),
            )
        self._begun: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._codes: dict[int, int] = {}
        self._over = False
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self._line.close()
        self._process.terminate()  # it may be importing
        self._process.wait()

    def start(self, arguments: Sequence[str], name: str) -> Forked:
        """`secure-fair` with these arguments as a process; ``name`` is what the system's lists show.

        ProcessFailed where no process can be forked.
        """
        its_stdin, stdin = os.pipe()
        stderr, its_stderr = os.pipe()
        try:
            request = json.dumps({"arguments": list(arguments), "name": name}).encode() + b"\n"
            sent = socket.send_fds(self._line, [request], [its_stdin, its_stderr])
            self._line.sendall(request[sent:])
            pid = self._begun.get(timeout=PATIENCE)
        except (OSError, queue.Empty):
            pid = None
        finally:
            os.close(its_stdin)
            os.close(its_stderr)
        if pid is None:
            os.close(stdin)
            os.close(stderr)
            what = f"{name}: no process could be started within {PATIENCE:g} s; what is said above may tell why"
            raise ProcessFailed(what, 5, name)
        return Forked(pid, stdin, os.fdopen(stderr, encoding="utf-8", errors="replace"), self._wait)

    def _wait(self, pid: int, timeout: float | None) -> int | None:
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._changed.wait_for(lambda: pid in self._codes or self._over, timeout)
        while pid not in self._codes and self._over:  # whom it was forked from is gone: only that it runs can be seen
            if not _runs(pid):
                self._codes[pid] = -signal.SIGKILL
            elif time.monotonic() >= deadline:
                break
            else:
                time.sleep(0.05)
        return self._codes.get(pid)

    def _listen(self) -> None:
        """Hear what has begun, and what has ended."""
        with contextlib.suppress(OSError), self._line.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                told = json.loads(line)
                if "code" not in told:
                    self._begun.put(told["pid"])
                    continue
                with self._changed:
                    self._codes[told["pid"]] = told["code"]
                    self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._begun.put(None)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def serve(line: socket.socket) -> dict[str, Any] | None:
    """Fork a party at every request, in whose process its request is returned; None once the launcher has gone.

    What a party is given is its stdin and stderr; its stdout goes nowhere.
    """
    awake, wake = socket.socketpair()
    for one in (awake, wake):
        one.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    with selectors.DefaultSelector() as ready:
        ready.register(line, selectors.EVENT_READ)
        ready.register(awake, selectors.EVENT_READ)
        while True:
            came = {key.fileobj for key, _ in ready.select()}
            if awake in came:
                with contextlib.suppress(BlockingIOError):
                    awake.recv(LINE)
                _tell_ended(line)
            if line not in came:
                continue
            content, descriptors, _, _ = socket.recv_fds(line, LINE, 2)
            while content and not content.endswith(b"\n"):
                content += line.recv(LINE)
            if not content:
                return None
            with warnings.catch_warnings():  # of threads that a library has for its sums, and stops for a fork
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                break
            for descriptor in descriptors:
                os.close(descriptor)
            _tell(line, {"pid": pid})
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for one in (awake, wake, line):
        one.close()
    _stand_in(*descriptors)
    request: dict[str, Any] = json.loads(content)
    return request


def _tell_ended(line: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _tell(line, {"pid": ended[0], "code": os.waitstatus_to_exitcode(ended[1])})


def _tell(line: socket.socket, told: dict[str, int]) -> None:
    with contextlib.suppress(OSError):  # the launcher has gone: its parties see that for themselves
        line.sendall(json.dumps(told).encode() + b"\n")


def _stand_in(stdin: int, stderr: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for given, own in ((stdin, 0), (nowhere, 1), (stderr, 2)):
        os.dup2(given, own)
        os.close(given)


def _call_itself(name: str) -> None:
    """Have the system's lists show the party's name, where they can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_NAME, f"sf {name}".encode()[:15], 0, 0, 0)


def main() -> None:
    """Import, fork, and in a fork be the party."""
    heeded = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the launcher's and the parties'
    line = socket.socket(fileno=int(sys.argv[1]))
    for module in sys.argv[2:]:
        importlib.import_module(module)
    gc.freeze()  # a collection in a fork would write to, and so copy, every page of what they share
    request = serve(line)
    if request is None:
        return
    signal.signal(signal.SIGINT, heeded)
    _call_itself(request["name"])
    sys.argv = ["secure-fair", *request["arguments"]]
    try:
        runpy.run_module(PROGRAM, run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, int):
            _leave(ended.code)
        raise


def _leave(code: int) -> None:
    """End at once: to take the interpreter down object by object would copy every page that is shared, for a second."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
