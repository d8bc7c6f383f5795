"""Checkpoints: one line of JSON, then the arrays.

The header holds the format, versions, where training stood, the configuration, every array's shape and dtype, and a
checksum of what follows; the arrays are Equinox leaves. Files are written beside their place and moved there, so a
checkpoint is whole or absent.
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


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or belongs to another network."""


def save_checkpoint(path: Path, tree: Any, header: dict[str, Any]) -> None:
    """Write `tree` with a JSON-serialisable `header` to `path`, atomically.

    **Raises:** `OSError` as the file system does; the previous checkpoint is then untouched.
    """
    body = io.BytesIO()
    eqx.tree_serialise_leaves(body, tree)
    payload = body.getvalue()
    first = {
        "format": FORMAT,
        **header,
        "arrays": _describe(tree),
        "bytes": len(payload),
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(json.dumps(first).encode() + b"\n")
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_header(path: Path) -> dict[str, Any]:
    """Return the JSON header of the checkpoint at `path`.

    **Raises:** `CheckpointError` if there is no checkpoint or it is not one of ours.
    """
    header, _ = _open(path)
    return header


def load_checkpoint(path: Path, like: Tree) -> tuple[Tree, dict[str, Any]]:
    """Return the tree stored at `path`, shaped like `like`, and its header.

    **Raises:** `CheckpointError`, one line, if the file is absent, truncated, corrupt, or holds arrays of other shapes or dtypes.
    """
    header, payload = _open(path)
    if len(payload) != header["bytes"] or hashlib.sha256(payload).hexdigest() != header["sha256"]:
        raise CheckpointError(f"{path} is damaged (its checksum does not fit): delete it and start the run afresh")
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
        first, _, payload = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {path}: start the run without resuming") from None
    try:
        header = json.loads(first)
        if header["format"] != FORMAT or not {"arrays", "bytes", "sha256"} <= header.keys():
            raise KeyError("format")
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path} is not a checkpoint of this version ({FORMAT})") from None
    return header, payload


def _describe(tree: Any) -> list[list[str]]:
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
    return [
        [jax.tree_util.keystr(path).lstrip("."), f"{np.dtype(leaf.dtype)}{list(leaf.shape)}"] for path, leaf in leaves
    ]
