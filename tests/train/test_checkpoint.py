"""Checkpoints. Oracles: what was saved, bit for bit; the old checkpoint after a failure; no byte changes unseen."""

import hashlib
import json
import os
import platform

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.train.checkpoint import FORMAT, load_checkpoint, save_checkpoint


class Pair(eqx.Module):
    """A small pytree of two dtypes, with something that is no array."""

    weight: jnp.ndarray
    count: jnp.ndarray
    name: str = "pair"


def pair(seed=0, shape=(3, 2)):
    rng = np.random.default_rng(seed)
    return Pair(jnp.asarray(rng.normal(size=shape).astype(np.float32)), jnp.asarray(seed, jnp.int32))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoint.eqx"
    save_checkpoint(path, pair(1), {"step": 7, "history": [{"loss": 0.1, "test": None}], "note": "a\nb"})
    return path


def refused(path, like=None):
    """The one line that loading the file is refused with."""
    with pytest.raises(hp.CheckpointError) as raised:
        load_checkpoint(path, pair() if like is None else like)
    message = str(raised.value)
    assert message.startswith((str(path), "there is no checkpoint at")) and "\n" not in message
    return message


def test_round_trip(saved, assert_identical):
    tree, header = load_checkpoint(saved, pair())
    assert_identical(tree, pair(1))
    assert tree.name == "pair"
    assert (header["step"], header["history"], header["note"]) == (7, [{"loss": 0.1, "test": None}], "a\nb")
    here = {"holoprop": hp.__version__, "jax": jax.__version__, "python": platform.python_version()}
    assert header["versions"] == here


def test_truncated_anywhere(saved, tmp_path):
    data, cut = saved.read_bytes(), tmp_path / "cut.eqx"
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        assert "is not a checkpoint" in refused(cut) or "is damaged" in refused(cut)


def test_a_flipped_bit_anywhere(saved, tmp_path):
    """In the header (which says where training stood), the arrays or the checksum itself."""
    data, flipped = saved.read_bytes(), tmp_path / "flipped.eqx"
    rng = np.random.default_rng(0)
    for position in range(len(data)):
        spoiled = bytearray(data)
        spoiled[position] ^= 1 << int(rng.integers(8))
        flipped.write_bytes(spoiled)
        refused(flipped)


def test_bytes_appended(saved):
    with saved.open("ab") as file:
        file.write(b"\0")
    assert "is damaged (its checksum does not fit): delete it and start the run afresh" in refused(saved)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (pair(shape=(3, 4)), "weight is float32[3, 2] there but float32[3, 4] here"),
        (Pair(pair().weight, jnp.zeros((), jnp.float32)), "count is int32[] there but float32[] here"),
        ({"weight": pair().weight}, "['weight'] is 2 there but float32[3, 2] here"),
    ],
    ids=["shape", "dtype", "name"],
)
def test_another_tree(saved, like, message):
    assert refused(saved, like) == f"{saved} belongs to another configuration: {message}"


def rewritten(path, change, cut=0):
    """The checkpoint with another header, whole by its checksum, its arrays shorter by `cut` bytes."""
    first, _, payload = path.read_bytes()[:-32].partition(b"\n")
    header = json.loads(first)
    change(header)
    content = json.dumps(header).encode() + b"\n" + payload[: len(payload) - cut]
    path.write_bytes(content + hashlib.sha256(content).digest())


def test_what_other_versions_wrote_and_does_not_load_says_so(saved):
    """Oracle: the versions put into the header; only those that differ are named."""

    def older(header):
        header["versions"] |= {"jax": "0.9.1", "holoprop": "0.0.3"}

    rewritten(saved, older)
    other = f"; it was written with holoprop 0.0.3, jax 0.9.1 (here holoprop {hp.__version__}, jax {jax.__version__})"
    assert load_checkpoint(saved, pair())[1]["step"] == 7
    assert refused(saved, pair(shape=(3, 4))).endswith("weight is float32[3, 2] there but float32[3, 4] here" + other)
    rewritten(saved, lambda header: None, cut=5)
    message = refused(saved)
    assert message.startswith(f"{saved} cannot be read: ") and message.endswith(other)
    rewritten(saved, lambda header: header.update(format="holoprop-checkpoint-0"))
    assert refused(saved) == f"{saved} is not a checkpoint of this version ({FORMAT}){other}"


def test_no_checkpoint(tmp_path):
    assert refused(tmp_path / "absent.eqx").endswith("start the run without resuming")
    assert "cannot be read" in refused(tmp_path)
    other = tmp_path / "other.eqx"
    for content in (b"", b"hello", b'{"format": "somebody-else-1"}\n', b"\xff\xfe\n"):
        other.write_bytes(content)
        assert refused(other) == f"{other} is not a checkpoint of this version (holoprop-checkpoint-1)"


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_failure_leaves_the_old_one(saved, monkeypatch, where, assert_identical):
    """And nothing beside it."""

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(os, where, fail)
        save_checkpoint(saved, pair(2), {"step": 8})
    tree, header = load_checkpoint(saved, pair())
    assert_identical(tree, pair(1))
    assert header["step"] == 7 and [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_header_that_is_no_json_leaves_the_old_one(saved):
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_checkpoint(saved, pair(2), {"step": object()})
    assert load_checkpoint(saved, pair())[1]["step"] == 7


def test_overwriting(saved, assert_identical):
    save_checkpoint(saved, pair(2), {"step": 8})
    tree, header = load_checkpoint(saved, pair())
    assert_identical(tree, pair(2))
    assert header["step"] == 8
