"""A server that has imported dbt and holds the parsed project, and forks a process for each merge: the start is paid once.

It is a process of its own with one thread, and never opens DuckDB, so that a fork of it is as good as a new process. It listens on a Unix
socket in a folder that only its user may open. CRM_MERGE_FORKS names the socket to whoever runs dbt; without it, or where nobody listens,
dbt is started anew.

A client connects and sends one byte with two file descriptors, the fork's standard input and output; ``+`` says that it has a fork, ``-``
that there is no room for one. Then ``T`` ends the fork, ``K`` kills it, and if the client goes away it is killed as well. The answer is one
line of JSON when the fork has ended: {code, peak_memory}.

On Linux alone: elsewhere nothing ends a fork whose server is killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from crm_merge import PROJECT
from crm_merge.engine import child, compiled

SOCKET = "CRM_MERGE_FORKS"
LINUX = sys.platform == "linux"
LONGEST = 100  # bytes of a socket's path
ANSWERED = 20.0  # seconds that the server may take to fork
READY = 60.0  # seconds that the server may take to import dbt and parse the project
MOST = 64  # forks at a time
# dbt makes locks of multiprocessing, and the watcher of these warns when the server is ended
QUIET = "ignore::UserWarning:multiprocessing.resource_tracker"


def name() -> str:
    """Returns what the socket is called: by this installation and its code, since a server of another one, or of older code, is of no use."""
    found = hashlib.sha256(f"{sys.version} {PROJECT}".encode())
    for path in sorted((PROJECT / "crm_merge").rglob("*.py")):
        found.update(path.read_bytes())
    return f"{found.hexdigest()[:16]}.sock"


# -- The client --


class Forked:
    """A process forked by the server, as ``subprocess.Popen`` has one: stdin, stdout, returncode, terminate, kill, wait."""

    def __init__(self, address: str):
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.returncode: int | None = None
        self.peak_memory = 0
        self.lost = False  # was the server ended, and this with it?
        theirs, ours = os.pipe()
        read, write = os.pipe()
        try:
            self.connection.settimeout(ANSWERED)
            self.connection.connect(address)
            socket.send_fds(self.connection, [b"F"], [theirs, write])
            if self.connection.recv(1) != b"+":
                raise OSError("the server has no room for another fork")
        except OSError:
            self.connection.close()
            os.close(ours)
            os.close(read)
            raise
        finally:
            os.close(theirs)
            os.close(write)
        self.stdin: IO[str] = os.fdopen(ours, "w", encoding="utf-8")
        self.stdout: IO[str] = os.fdopen(read, "r", encoding="utf-8")

    def terminate(self) -> None:
        """Asks the process to end."""
        self._tell(b"T")

    def kill(self) -> None:
        """Ends the process."""
        self._tell(b"K")

    def _tell(self, what: bytes) -> None:
        with suppress(OSError):
            self.connection.sendall(what)

    def wait(self, timeout: float | None = None) -> int:
        """Waits until the process has ended; returns its exit code, or minus the signal that ended it; raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self.connection.settimeout(timeout)
            answer = b""
            try:
                while not answer.endswith(b"\n"):
                    if not (piece := self.connection.recv(4096)):
                        raise ConnectionResetError
                    answer += piece
            except TimeoutError:
                raise subprocess.TimeoutExpired("dbt", timeout or 0) from None
            except OSError:  # the server itself was ended, and the fork with it
                self.lost, answer = True, b'{"code": -9, "peak_memory": 0}\n'
            found = json.loads(answer)
            self.returncode, self.peak_memory = found["code"], found["peak_memory"]
            self.connection.close()
        return self.returncode


def started() -> Forked | None:
    """Returns a process forked by the server that CRM_MERGE_FORKS names; None if there is none."""
    address = os.environ.get(SOCKET)
    if not address or not LINUX or Path(address).name != name():
        return None
    try:
        return Forked(address)
    except OSError:
        return None


class Server:
    """A server for as long as a ``with`` lasts. ``address`` is its socket, '' where there can be none; ``wait``: until it listens."""

    def __init__(self, wait: bool = True):
        self.wait = wait
        self.folder = tempfile.TemporaryDirectory(prefix="crm-merge-forks-")  # only its user may open it
        address = Path(self.folder.name) / name()
        self.address = str(address) if LINUX and len(os.fsencode(address)) <= LONGEST else ""
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        if self.address:
            self.start()
        return self

    def keep_up(self) -> None:
        """Starts the server again if it has ended."""
        if self.process and self.process.poll() is not None:
            self.start()

    def start(self) -> None:
        """Starts the server."""
        if self.process and self.process.stdout:
            self.process.stdout.close()
        self.process = subprocess.Popen(
            [sys.executable, "-W", QUIET, "-m", "crm_merge.engine.forks", self.address],
            cwd=PROJECT,
            # one thread: what several hold at a fork stays held in it
            env={"MALLOC_ARENA_MAX": "2", **os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C is for who started it
        )
        assert self.process.stdout is not None
        if self.wait:
            with selectors.DefaultSelector() as ready:
                ready.register(self.process.stdout, selectors.EVENT_READ)
                ready.select(READY)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()
            if self.process.stdout:
                self.process.stdout.close()
        self.folder.cleanup()


# -- The server --


class Listening:
    """What the server knows: its socket, its forks by the connection that asked for each, manifests by their number, compiled Jinja."""

    def __init__(self, address: str):
        self.held: dict[str, Any] = {}
        self.kept = compiled.Kept()
        self.kept.install()
        self.forks: dict[socket.socket, int] = {}
        self.selector = selectors.DefaultSelector()
        with suppress(FileNotFoundError):
            os.unlink(address)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(address)
        os.chmod(address, 0o600)
        self.listener.listen(MOST)
        self.selector.register(self.listener, selectors.EVENT_READ)
        # a byte comes here when a fork has ended
        self.woken, waker = socket.socketpair()
        self.woken.setblocking(False)
        waker.setblocking(False)
        self.waker = waker
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self.woken, selectors.EVENT_READ)

    def serve(self) -> None:
        """Forks until the process is ended."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    self.selector.register(connection, selectors.EVENT_READ)
                elif key.fileobj is self.woken:
                    with suppress(BlockingIOError):
                        self.woken.recv(4096)
                    self.reap()
                elif isinstance(key.fileobj, socket.socket):
                    self.hear(key.fileobj)

    def hear(self, connection: socket.socket) -> None:
        """Does what a client says."""
        try:
            said, descriptors, _, _ = socket.recv_fds(connection, 16, 2)
        except OSError:
            said, descriptors = b"", []
        pid = self.forks.get(connection)
        if said[:1] == b"F" and pid is None and len(descriptors) == 2:
            if len(self.forks) < MOST:
                self.fork(connection, descriptors)
            with suppress(OSError):
                connection.sendall(b"+" if connection in self.forks else b"-")
        elif pid is not None and said:
            self.signal(pid, signal.SIGKILL if b"K" in said else signal.SIGTERM)
        else:  # it is gone
            self.selector.unregister(connection)
            if pid is not None:
                self.signal(pid, signal.SIGKILL)
            else:
                connection.close()
        for descriptor in descriptors:
            os.close(descriptor)

    def signal(self, pid: int, number: int) -> None:
        """Sends a signal to a fork."""
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def fork(self, connection: socket.socket, descriptors: list[int]) -> None:
        """Forks the process for one merge."""
        server = os.getpid()
        pid = os.fork()
        if pid:
            self.forks[connection] = pid
            return
        try:
            self.become_child(server, descriptors)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 1
        else:
            code = 0
        # what a process does when it ends by itself, but for what was the server's
        with suppress(Exception):
            child.close_databases()
        with suppress(Exception):
            sys.stdout.flush()
        os._exit(code)

    def become_child(self, server: int, descriptors: list[int]) -> None:
        """What the fork does: forgets that it was the server, and runs dbt."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        child.end_with_parent()
        if os.getppid() != server:  # it ended meanwhile
            sys.exit(1)
        # also connections that were accepted and not heard yet: each is open only with its own client
        for key in list(self.selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self.selector.close()
        self.waker.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.dup2(1, 2)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 -- for as long as the process lives
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        child.work(child.requested(), self.held, self.kept)

    def reap(self) -> None:
        """Tells the clients of forks that have ended how."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for connection, of in list(self.forks.items()):
                if of == pid:
                    del self.forks[connection]
                    found = {"code": os.waitstatus_to_exitcode(status), "peak_memory": usage.ru_maxrss * 1024}
                    with suppress(OSError):
                        connection.sendall(json.dumps(found).encode() + b"\n")
                    with suppress(KeyError, ValueError):
                        self.selector.unregister(connection)
                    connection.close()


def main(address: str) -> None:
    """Imports dbt, parses the project in a process of its own if nobody has, loads it, says that it is ready, and forks."""
    child.end_with_parent(signal.SIGTERM)
    import dbt.adapters.sql.impl
    import dbt.cli.main
    import dbt.parser.manifest  # noqa: F401

    # not DuckDB, which begins a thread when it is imported
    from crm_merge.engine import manifest
    from crm_merge.spec import check  # noqa: F401

    number = manifest.number("duckdb")
    subprocess.run(
        [sys.executable, "-c", "from crm_merge.engine import manifest; manifest.load('duckdb')"],
        cwd=PROJECT, stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    listening = Listening(address)
    if manifest.file_of("duckdb").exists():
        listening.held[number] = manifest.load("duckdb")
    child.settle()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", flush=True)
    listening.serve()


if __name__ == "__main__":
    main(sys.argv[1])
