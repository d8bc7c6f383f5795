"""Where files come from. Oracle: files made in the test, served by web servers on this machine that may misbehave."""

import dataclasses
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holoprop.data.cache import available_datasets, fetch_dataset, verify_dataset
from holoprop.data.dataset import DataError, Dataset
from holoprop.data.loading import load_dataset
from holoprop.data.registry import SOURCES

NAMES = [file.name for file in SOURCES["mnist"].files]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The folder `HOLOPROP_CACHE` names."""
    return tmp_path / "cache"


@pytest.fixture
def use_mirrors(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def use(*urls: str) -> None:
        monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(SOURCES["mnist"], mirrors=urls))

    return use


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_is_tiny(data: Dataset, tiny: Any) -> None:
    splits = (data.train.images[..., 0], data.train.labels, data.test.images[..., 0], data.test.labels)
    for found, expected in zip(splits, tiny.arrays, strict=True):
        np.testing.assert_array_equal(found, expected)


def refusal(call: Callable[[], object], *words: str) -> str:
    """The one line with which a call is refused, checked to hold the words."""
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []
    return message


def test_folder_comes_before_cache_before_download(
    tiny: Any, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, new_mirror: Any, use_mirrors: Any
) -> None:
    """Each file is taken from the first place that has it; only what is nowhere is downloaded."""
    mirror = new_mirror(tiny.files)
    use_mirrors(mirror.url)
    folder = tiny.write(tmp_path / "folder")
    monkeypatch.setenv("HOLOPROP_DATA", str(folder))
    (folder / "mnist" / NAMES[1]).unlink()
    (folder / "mnist" / NAMES[2]).unlink()
    tiny.write(cache)
    (cache / "mnist" / NAMES[2]).unlink()

    places = fetch_dataset("mnist")
    assert list(places) == NAMES
    assert [path.parents[1] for path in places.values()] == [folder, cache, cache, folder]
    assert mirror.asked == [NAMES[2]]
    assert_is_tiny(load_dataset("mnist"), tiny)
    assert mirror.asked == [NAMES[2]]
    assert {row.source.name: row.place for row in available_datasets()} == {
        "digits": "built in",
        "mnist": "HOLOPROP_DATA + cache",
        "fashion-mnist": "not downloaded",
        **dict.fromkeys(("svhn", "cifar-10", "cifar-100", "cifar-100-subset", "imagenet32"), "not downloaded"),
    }


def test_a_download_fills_the_cache_once(
    tiny: Any, tmp_path: Path, cache: Path, new_mirror: Any, use_mirrors: Any
) -> None:
    """Also: `cache` goes before `HOLOPROP_CACHE`, and progress ends at each file's full size."""
    mirror = new_mirror(tiny.files)
    use_mirrors(mirror.url)
    seen: dict[str, int] = {}
    other = tmp_path / "other"
    fetch_dataset("mnist", cache=other, progress=lambda name, done, total: seen.update({name: total - done}))
    assert seen == dict.fromkeys(NAMES, 0)
    assert files_in(other) == tiny.files
    assert not cache.exists()
    assert_is_tiny(load_dataset("mnist", cache=other), tiny)
    assert mirror.asked == NAMES
    assert [check.ok for check in verify_dataset("mnist", cache=other)] == [True] * 4


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


BAD_MIRRORS = {
    "absent": ({}, False, "HTTP 404"),
    "broken": (dict.fromkeys(NAMES, 503), False, "HTTP 503"),
    "another file": (dict.fromkeys(NAMES, b"<html>moved</html>"), False, "not the official file"),
    "cut off": (dict.fromkeys(NAMES, bytes(1000)), True, "Error"),
}


@pytest.mark.parametrize("kind", [*BAD_MIRRORS, "nobody there"])
def test_the_next_mirror_is_tried(kind: str, tiny: Any, cache: Path, new_mirror: Any, use_mirrors: Any) -> None:
    """A bad first mirror costs nothing but time; two bad ones cost one line, and nothing is left in the cache."""
    if kind == "nobody there":
        bad_url, reason = f"http://127.0.0.1:{_free_port()}/mnist/", "ConnectionError"
    else:
        answers, cut, reason = BAD_MIRRORS[kind]
        bad_url = new_mirror(answers, cut).url
    use_mirrors(bad_url, bad_url)
    line = refusal(lambda: load_dataset("mnist"), NAMES[0], str(cache / "mnist"), "by hand", "HOLOPROP_DATA")
    assert line.count(reason) == 2
    assert files_in(cache) == {}

    good = new_mirror(tiny.files)
    use_mirrors(bad_url, good.url)
    assert_is_tiny(load_dataset("mnist"), tiny)
    assert files_in(cache) == tiny.files
    assert good.asked == NAMES


def test_a_mirror_that_does_not_stop_is_left(tiny: Any, cache: Path, new_mirror: Any, use_mirrors: Any) -> None:
    """The mirror would send 100 MB; it gets rid of what the sockets buffer."""
    endless, good = new_mirror(dict.fromkeys(NAMES, b""), endless=True), new_mirror(tiny.files)
    use_mirrors(endless.url, good.url)
    fetch_dataset("mnist")
    assert endless.asked == good.asked == NAMES
    assert 0 < endless.sent < 5 * 10**7
    assert files_in(cache) == tiny.files


def test_an_interrupted_download_leaves_nothing(tiny: Any, cache: Path, new_mirror: Any, use_mirrors: Any) -> None:
    """Ctrl-C in the middle of the second file: the first is whole, of the second there is no trace."""
    use_mirrors(new_mirror(tiny.files).url)

    def interrupt(name: str, done: int, total: int) -> None:
        if name == NAMES[1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_dataset("mnist", progress=interrupt)
    assert files_in(cache) == {NAMES[0]: tiny.files[NAMES[0]]}


def test_a_progress_display_silences_pooch(
    tiny: Any, tmp_path: Path, new_mirror: Any, use_mirrors: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Without one, pooch says what it downloads: before, and again after, so that nothing is left switched off."""
    import pooch

    use_mirrors(new_mirror(tiny.files).url)
    pooch.get_logger().addHandler(caplog.handler)
    notes = []
    try:
        for place, progress in (("a", None), ("b", lambda name, done, total: None), ("c", None)):
            fetch_dataset("mnist", cache=tmp_path / place, progress=progress)
            notes.append(len(caplog.messages))
    finally:
        pooch.get_logger().removeHandler(caplog.handler)
    assert notes == [4, 4, 8]


def test_wrong_files_are_never_used_unseen(
    tiny: Any, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, new_mirror: Any, use_mirrors: Any
) -> None:
    """In the cache a wrong file is reported by loading and replaced by fetching; under HOLOPROP_DATA only reported."""
    mirror = new_mirror(tiny.files)
    use_mirrors(mirror.url)
    tiny.write(cache)
    wrong = cache / "mnist" / NAMES[3]
    wrong.write_bytes(tiny.files[NAMES[3]][:-1])
    official = tiny.source.files[3]
    words = (str(wrong), official.digest[:16], f"({official.size} bytes)", f"({official.size - 1} bytes)", "delete")
    refusal(lambda: load_dataset("mnist"), *words, "verify=False")
    assert [check.ok for check in verify_dataset("mnist")] == [True, True, True, False]
    assert official.digest[:16] in verify_dataset("mnist")[3].message
    assert mirror.asked == []
    fetch_dataset("mnist")
    assert mirror.asked == [NAMES[3]]
    assert files_in(cache) == tiny.files

    folder = tiny.write(tmp_path / "folder")
    (folder / "mnist" / NAMES[0]).write_bytes(b"mine")
    monkeypatch.setenv("HOLOPROP_DATA", str(folder))
    for call in (load_dataset, fetch_dataset):
        refusal(lambda call=call: call("mnist"), str(folder / "mnist" / NAMES[0]), "not the official file")
    assert (folder / "mnist" / NAMES[0]).read_bytes() == b"mine"


def test_verify_false_lets_other_whole_files_in(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encode_idx: Any
) -> None:
    """Plain in place of gzipped, six other labels: read as they are. A broken one is still refused."""
    folder = tiny.write(tmp_path / "folder")
    monkeypatch.setenv("HOLOPROP_DATA", str(folder))
    others = np.array([9, 8, 7, 6, 5, 4], np.uint8)
    labels = folder / "mnist" / NAMES[1]
    labels.write_bytes(encode_idx(others))
    refusal(lambda: load_dataset("mnist"), str(labels), "not the official file")
    np.testing.assert_array_equal(load_dataset("mnist", verify=False).train.labels, others)
    labels.write_bytes(encode_idx(others)[:-1])
    refusal(lambda: load_dataset("mnist", verify=False), str(labels), "truncated")
    labels.write_bytes(encode_idx(others + 1))
    refusal(lambda: load_dataset("mnist", verify=False), str(labels), "label 10 at position 0")


def test_verify_says_what_is_missing_and_downloads_nothing(
    tiny: Any, cache: Path, new_mirror: Any, use_mirrors: Any
) -> None:
    mirror = new_mirror(tiny.files)
    use_mirrors(mirror.url)
    checks = verify_dataset("mnist")
    assert [check.file for check in checks] == NAMES
    assert [check.ok for check in checks] == [False] * 4
    assert all(str(cache) in check.message and "holoprop data fetch mnist" in check.message for check in checks)
    assert mirror.asked == []
    (cache / "mnist" / NAMES[0]).mkdir(parents=True)
    assert verify_dataset("mnist")[0].message.endswith("cannot be read: Is a directory")


def test_digits_need_no_files(cache: Path) -> None:
    assert fetch_dataset("digits") == {}
    assert verify_dataset("digits") == [("(built in)", True, "the known arrays, from scikit-learn")]
    assert not cache.exists()


def test_folders_that_cannot_be_used(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_mirror: Any, use_mirrors: Any
) -> None:
    use_mirrors(new_mirror(tiny.files).url)
    occupied = tmp_path / "a-file"
    occupied.write_text("in the way")
    refusal(lambda: load_dataset("mnist", cache=occupied), "cannot write", str(occupied), "HOLOPROP_CACHE")
    monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path / "mistyped"))
    refusal(lambda: load_dataset("mnist"), "HOLOPROP_DATA", "mistyped", "is not a folder")
    assert len(load_dataset("digits").test) == 360


def test_the_user_cache_is_where_the_system_keeps_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: pooch's rule, asked of it directly; a tilde means home."""
    import pooch

    monkeypatch.delenv("HOLOPROP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert str(pooch.os_cache("holoprop") / "mnist") in verify_dataset("mnist")[0].message
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HOLOPROP_CACHE", "~/mine")
    assert str(tmp_path / "mine" / "mnist") in verify_dataset("mnist")[0].message
