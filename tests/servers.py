"""Real servers for tests, on 127.0.0.1 and a free port each: S3 by rclone, https by http.server."""

from __future__ import annotations

import functools
import http.server
import os
import re
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

import trustme

ACCESS_KEY, SECRET_KEY = "AKIDTESTKEY", "s3-secret-dont-show"


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Serves the folders below ``folder`` as buckets; yields the endpoint's URL. Accepts one pair of keys."""
    rclone = Path(sys.executable).with_name("rclone")
    with tempfile.TemporaryFile("w+") as log:
        command = [rclone, "serve", "s3", "--addr", "127.0.0.1:0", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"]
        command += ["--vfs-cache-mode", "off", "--config", os.devnull, folder]
        command += ["--dir-cache-time", "0s"]  # tests change files behind the server's back
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
            yield found[1]
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
