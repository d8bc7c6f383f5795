"""Checkpoints: one line of JSON, then the arrays, then a checksum of both.

The header holds the format, where training stood, the configuration, and every array's shape and dtype; the arrays are
Equinox leaves; the SHA-256 at the end covers every byte before it. Files are written beside their place and moved
there, so a checkpoint is whole or absent.
"""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np

Tree = TypeVar("Tree")
FORMAT = "holoprop-checkpoint-1"
_BEGINNING = json.dumps({"format": FORMAT})[:-1].encode()
_DIGEST_SIZE = hashlib.sha256().digest_size


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or belongs to another network."""


def save_checkpoint(path: Path, tree: Any, header: dict[str, Any]) -> None:
    """Write `tree` with a JSON-serialisable `header` to `path`, atomically.

    **Raises:** `OSError` as the file system does; the previous checkpoint is then untouched.
    """
    body = io.BytesIO()
    eqx.tree_serialise_leaves(body, tree)
    first = {"format": FORMAT, **header, "arrays": _describe(tree)}
    content = json.dumps(first).encode() + b"\n" + body.getvalue()
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.write(hashlib.sha256(content).digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_header(path: Path) -> dict[str, Any]:
    """Return the JSON header of the checkpoint at `path`.

    **Raises:** `CheckpointError`, one line, if there is no checkpoint, it is not one of ours, or it is damaged.
    """
    header, _ = _open(path)
    return header


def load_checkpoint(path: Path, like: Tree) -> tuple[Tree, dict[str, Any]]:
    """Return the tree stored at `path`, shaped like `like`, and its header.

    **Raises:** `CheckpointError`, one line, if the file is absent, truncated, corrupt, or holds arrays of other
    shapes or dtypes.
    """
    header, payload = _open(path)
    wanted = _describe(like)
    if header["arrays"] != wanted:
        stored = dict(header["arrays"])
        name, shape = next(((n, s) for n, s in wanted if stored.get(n) != s), ("number of arrays", len(wanted)))
        raise CheckpointError(
            f"{path} belongs to another configuration: {name} is {stored.get(name, len(stored))} there but {shape} here"
        )
    return eqx.tree_deserialise_leaves(io.BytesIO(payload), like), header


def _open(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {path}: start the run without resuming") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    if not data.startswith(_BEGINNING):
        raise CheckpointError(f"{path} is not a checkpoint of this version ({FORMAT})")
    content, digest = data[:-_DIGEST_SIZE], data[-_DIGEST_SIZE:]
    if hashlib.sha256(content).digest() != digest:
        raise CheckpointError(f"{path} is damaged (its checksum does not fit): delete it and start the run afresh")
    first, _, payload = content.partition(b"\n")
    return json.loads(first), payload


def _describe(tree: Any) -> list[list[str]]:
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
    return [
        [jax.tree_util.keystr(path).lstrip("."), f"{np.dtype(leaf.dtype)}{list(leaf.shape)}"] for path, leaf in leaves
    ]
