"""A web server of this machine that has faults on demand, and two small files with pins."""

import gzip
import hashlib
import random
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from stages.lib.data.dataset import Pin

FILES = {name: random.Random(name).randbytes(200_000) for name in ("images-idx3-ubyte", "labels-idx1-ubyte")}
PINNED = {name: Pin(len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items()}
FIRST, SECOND = FILES


class Server(ThreadingHTTPServer):
    """Gives its answers in order, then the last one again; an answer is bytes or a kind of fault."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[bytes | str]] = {}
        self.requests: list[str] = []
        self.is_stalled, self.is_over = threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def serve(self, name: str, *answers: bytes | str) -> None:
        self.answers[f"/{name}"] = list(answers)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        answers = self.server.answers.get(self.path, ["absent"])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer == "absent":
            self.send_error(404)
            return
        body = answer if isinstance(answer, bytes) else gzip.compress(FILES[self.path[1:-3]])
        self.send_response(200)
        if answer in ("endless", "trickle"):
            self.end_headers()
            self.go_on(bytes(2**16) if answer == "endless" else b"\x1f", 0 if answer == "endless" else 0.05)
            return
        self.send_header("Content-Length", str(len(body)))
        if answer == "decompressed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        whole = isinstance(answer, bytes) or answer == "decompressed"
        self.wfile.write(body if whole else body[: len(body) // 2])
        if answer == "stalled":
            self.server.is_stalled.set()
            self.server.is_over.wait(600)

    def go_on(self, piece: bytes, pause: float) -> None:
        """Answer without an end, until the client has left."""
        with suppress(OSError):
            while not self.server.is_over.wait(pause):
                self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        pass


def unused_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
