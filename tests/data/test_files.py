"""Files and the cache folder. Oracles: the folder's contents before, and the order that the documentation promises."""

import os
from pathlib import Path

import pooch
import pytest

from holoprop.bench.compiled import bench_cache
from holoprop.data import files
from holoprop.data.files import cache_root, write_atomic


def test_a_file_is_replaced_as_a_whole(tmp_path, monkeypatch):
    """Until the new file is on the disk, the old one stands."""
    path, seen, sync = tmp_path / "file", [], os.fsync

    def look(descriptor):
        sync(descriptor)
        seen.append((path.read_bytes(), (tmp_path / "file.partial").read_bytes()))

    write_atomic(path, b"old")
    monkeypatch.setattr(files.os, "fsync", look)
    write_atomic(path, b"new")
    assert seen == [(b"old", b"new")]
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, where, error):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(*arguments):
        raise error

    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(files.os, where, fail)
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_replaced(tmp_path):
    (tmp_path / "file.partial").write_bytes(b"half of a much longer fi")
    write_atomic(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_one_cache_for_everything(tmp_path, monkeypatch):
    monkeypatch.delenv("HOLOPROP_CACHE", raising=False)
    assert cache_root() == Path(pooch.os_cache("holoprop")) == bench_cache().parent
    monkeypatch.setenv("HOLOPROP_CACHE", "~/cache")
    assert cache_root() == Path.home() / "cache" == bench_cache().parent
    assert cache_root(tmp_path) == tmp_path
