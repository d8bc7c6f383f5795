"""Checkpoints: one line of JSON, then the arrays, then a checksum of both.

The header holds the format, the versions that wrote it, where training stood, the configuration, and every array's
shape and dtype; the arrays are Equinox leaves; the SHA-256 at the end covers every byte before it. A checkpoint is
whole or absent (`write_atomic`).
"""

import hashlib
import io
import json
import platform
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np

from holoprop.data.files import write_atomic

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
    first = {"format": FORMAT, "versions": _versions(), **header, "arrays": _describe(tree)}
    content = json.dumps(first).encode() + b"\n" + body.getvalue()
    write_atomic(path, content + hashlib.sha256(content).digest())


def load_checkpoint(path: Path, like: Tree) -> tuple[Tree, dict[str, Any]]:
    """Return the tree stored at `path`, shaped like `like`, and its header.

    **Raises:** `CheckpointError`, one line, if the file is absent, truncated, corrupt, or holds arrays of other
    shapes or dtypes. Where other versions of holoprop, JAX or Python wrote what cannot be loaded, it says which.
    """
    header, payload = _open(path)
    wanted = _describe(like)
    if header["arrays"] != wanted:
        stored = dict(header["arrays"])
        name, shape = next(((n, s) for n, s in wanted if stored.get(n) != s), ("number of arrays", len(wanted)))
        raise CheckpointError(
            f"{path} belongs to another configuration: {name} is {stored.get(name, len(stored))} there but {shape} here"
            f"{_other_versions(header)}"
        )
    try:
        return eqx.tree_deserialise_leaves(io.BytesIO(payload), like), header
    except Exception as error:  # whatever another version of NumPy, JAX or Equinox makes of these bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"{path} cannot be read: {reason}{_other_versions(header)}") from None


def _open(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {path}: start the run without resuming") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    if not data.startswith(_BEGINNING):
        raise CheckpointError(f"{path} is not a checkpoint of this version ({FORMAT}){_other_versions(_guess(data))}")
    content, digest = data[:-_DIGEST_SIZE], data[-_DIGEST_SIZE:]
    if hashlib.sha256(content).digest() != digest:
        raise CheckpointError(f"{path} is damaged (its checksum does not fit): delete it and start the run afresh")
    first, _, payload = content.partition(b"\n")
    return json.loads(first), payload


def _guess(data: bytes) -> dict[str, Any]:
    """The header of what may be a checkpoint in another format of ours, empty if it is nothing of the kind."""
    try:
        header = json.loads(data.partition(b"\n")[0])
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def _versions() -> dict[str, str]:
    import holoprop

    return {"holoprop": holoprop.__version__, "jax": jax.__version__, "python": platform.python_version()}


def _other_versions(header: dict[str, Any]) -> str:
    """What to add to a complaint about a checkpoint that other versions wrote."""
    there, here = header.get("versions"), _versions()
    if not isinstance(there, dict):
        return ""
    other = [name for name in here if name in there and there[name] != here[name]]
    if not other:
        return ""
    wrote = ", ".join(f"{name} {there[name]}" for name in other)
    return f"; it was written with {wrote} (here {', '.join(f'{name} {here[name]}' for name in other)})"


def _describe(tree: Any) -> list[list[str]]:
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
    return [
        [jax.tree_util.keystr(path).lstrip("."), f"{np.dtype(leaf.dtype)}{list(leaf.shape)}"] for path, leaf in leaves
    ]
