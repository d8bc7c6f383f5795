"""Files made on the spot, and mirrors on this machine: nothing here touches the user's cache or the network."""

import contextlib
import dataclasses
import gzip
import hashlib
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from holoprop.data.registry import SOURCES
from holoprop.data.source import Source, SourceFile

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


@pytest.fixture(autouse=True)
def own_folders(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of the test's own, and official data only for tests that ask for it."""
    monkeypatch.setenv("HOLOPROP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    if not request.node.get_closest_marker("data"):
        monkeypatch.delenv("HOLOPROP_DATA", raising=False)


def _encode(array: np.ndarray) -> bytes:
    dtype = array.dtype.newbyteorder(">")
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape)
    return header + array.astype(dtype).tobytes()


@pytest.fixture(scope="session")
def encode_idx() -> Callable[[np.ndarray], bytes]:
    """A writer of IDX files, after the published description and independent of the reader."""
    return _encode


@dataclasses.dataclass
class TinySet:
    """A set of 6 + 3 images in the shape of MNIST, known to the registry under its name."""

    source: Source
    arrays: tuple[np.ndarray, ...]
    files: dict[str, bytes]

    def write(self, folder: Path) -> Path:
        """Put the files into `folder/mnist`."""
        (folder / "mnist").mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / "mnist" / name).write_bytes(content)
        return folder


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> TinySet:
    rng = np.random.default_rng(5)
    arrays = tuple(
        part for n in (6, 3) for part in (rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8))
    )
    names = [file.name for file in SOURCES["mnist"].files]
    files = {name: gzip.compress(_encode(array), mtime=0) for name, array in zip(names, arrays, strict=True)}
    described = tuple(SourceFile(name, len(c), f"sha256:{hashlib.sha256(c).hexdigest()}") for name, c in files.items())
    # No mirrors until a test gives it some: nothing may leave this machine.
    source = dataclasses.replace(SOURCES["mnist"], files=described, mirrors=(), train=6, test=3)
    monkeypatch.setitem(SOURCES, "mnist", source)
    return TinySet(source, arrays, files)


@dataclasses.dataclass
class Mirror:
    """A web server: what it answers by file name (a status, or bytes), and what it was asked for."""

    url: str
    answers: dict[str, int | bytes]
    cut: bool = False
    endless: bool = False
    sent: int = 0
    asked: list[str] = dataclasses.field(default_factory=list)


@pytest.fixture
def new_mirror() -> Iterator[Callable[..., Mirror]]:
    """Start mirrors on 127.0.0.1.

    `cut=True` breaks every transfer off in the middle; `endless=True` sends 100 MB of zeros, unannounced.
    """
    servers = []

    def start(answers: dict[str, int | bytes], cut: bool = False, endless: bool = False) -> Mirror:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                mirror.asked.append(name)
                answer = mirror.answers.get(name, 404)
                if isinstance(answer, int):
                    self.send_error(answer)
                    return
                self.send_response(200)
                if mirror.endless:
                    self.end_headers()
                    # The reader hanging up is the only other way out.
                    with contextlib.suppress(ConnectionError):
                        while mirror.sent < 10**8:
                            mirror.sent += self.wfile.write(bytes(10**6))
                    return
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer[: len(answer) // 2] if mirror.cut else answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        mirror = Mirror(f"http://127.0.0.1:{server.server_address[1]}/mnist/", answers, cut, endless)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return mirror

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
