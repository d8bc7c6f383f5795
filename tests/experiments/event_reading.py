"""Reads event files as TensorBoard does: a length of 8 bytes, its checksum of 4, an event, its checksum, and so on."""

import struct
from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


def read_events(folder: Path) -> Iterator[Event]:
    """All events of all files below a folder in which TensorBoard would look, in the order of the files' names."""
    for path in sorted(folder.rglob("*tfevents*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event()
            event.ParseFromString(content[12 : 12 + length])
            yield event
            content = content[16 + length :]
