"""Where the files of a data set are: looked for in three places in turn, and never used unseen.

    HOLOPROP_DATA/<name>/<file>   →   <user cache>/<name>/<file>   →   download into the cache, mirror by mirror

What is published as one archive is looked for as files first, then as the archive in the same places, which is unpacked
into the cache. The user cache is `HOLOPROP_CACHE` where that is set. A download lands in a temporary file and takes its
place only once its checksum is right, so an interrupted one leaves nothing behind.
"""

import contextlib
import dataclasses
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast
from urllib.parse import urlsplit

from holoprop.data.archive import unpack
from holoprop.data.dataset import DataError
from holoprop.data.digits import digits_problem
from holoprop.data.files import alone, cache_root
from holoprop.data.registry import SOURCES, find_source
from holoprop.data.source import Source, SourceFile
from holoprop.data.stored import check_stored, stored_folders, whole_manifest

DownloadProgress = Callable[[str, int, int], None]

# Seconds without a byte after which the next mirror is tried.
_TIMEOUT = 20


class FileCheck(NamedTuple):
    """What `verify_dataset` says of a file: its name, whether it is the official one, and a line for people."""

    file: str
    ok: bool
    message: str


class Availability(NamedTuple):
    """A data set and where its files are on this machine.

    **Attributes:** `source`: what the registry knows of it; `place`: "built in", "HOLOPROP_DATA", "cache", both joined
    by " + ", "converted" where only arrays made of the files are left, or "not downloaded", which also stands for
    incomplete. Presence only: whether the files are right, `verify_dataset` tells.
    """

    source: Source
    place: str


def available_datasets(*, cache: str | os.PathLike[str] | None = None) -> list[Availability]:
    """List the data sets that `load_dataset` knows.

    **Arguments:** `cache`: a folder in place of the user cache.

    **Raises:** `DataError` if `HOLOPROP_DATA` names no folder.
    """
    return [Availability(source, _place(source, cache)) for source in SOURCES.values()]


def fetch_dataset(
    name: str, *, cache: str | os.PathLike[str] | None = None, progress: DownloadProgress | None = None
) -> dict[str, Path]:
    """Make sure that all files of a data set are here and right; download what is not.

    **Arguments:** `name`: as in `available_datasets`; `cache`: a folder in place of the user cache; `progress`: is
    told `(file, bytes so far, bytes in all)` while a file is downloaded.

    **Returns:** the path of each file by its name; none for a set that is built in. A wrong file in the cache is
    replaced, one under `HOLOPROP_DATA` is not ours to touch.

    **Raises:** `DataError`, one line, if no mirror has the file, the cache cannot be written, or a file under
    `HOLOPROP_DATA` is wrong.
    """
    source = find_source(name)
    return {
        file.name: _obtain(source, file, cache, verify=True, replace=True, progress=progress) for file in source.files
    }


def verify_dataset(name: str, *, cache: str | os.PathLike[str] | None = None) -> list[FileCheck]:
    """Compare every file of a data set with its published checksum; download and change nothing.

    **Returns:** one `FileCheck` a file, in the registry's order; for a set that is built in, one about its arrays; for
    one that is converted, one more for each array there.

    **Raises:** `DataError` if there is no such set, or `HOLOPROP_DATA` names no folder.
    """
    source = find_source(name)
    if not source.files:
        problem = digits_problem()
        return [FileCheck("(built in)", problem is None, problem or "the known arrays, from scikit-learn")]
    checks = []
    files = source.files
    if source.archive is not None and _find(source, source.archive, cache) is not None:
        missing = all(_find(source, file, cache) is None for file in source.files)
        files = (source.archive,) if missing else source.files
    arrays = [check for folder in _arrays(source, cache) for check in check_stored(folder, source.image_shape)]
    for file in files:
        path = _find(source, file, cache)
        if path is None and arrays:
            continue
        if path is None:
            where = " and ".join(str(folder) for folder in _folders(source, cache).values())
            advice = source.how or f"run `holoprop data fetch {name}`"
            checks.append(FileCheck(file.name, False, f"missing in {where}; {advice}"))
            continue
        if not has_checksum(path, file):
            checks.append(
                FileCheck(path.name, True, f"{path}, whose checksum nobody states; converting compares counts")
            )
            continue
        try:
            problem = difference(path, file)
        except DataError as error:
            problem = str(error)
        checks.append(FileCheck(file.name, problem is None, problem or f"the official file, {path}"))
    return [*checks, *(FileCheck(*check) for check in arrays)]


def dataset_files(name: str, *, cache: str | os.PathLike[str] | None = None, verify: bool = True) -> list[Path]:
    """Return the paths of a data set's files in the registry's order; download those that are nowhere.

    **Arguments:** `cache`: a folder in place of the user cache; `verify`: whether files already here must be the
    official ones (downloaded ones always must).

    **Raises:** `DataError`, one line, for a file that is wrong or cannot be had.
    """
    source = find_source(name)
    return [_obtain(source, file, cache, verify=verify, replace=False, progress=None) for file in source.files]


def source_paths(source: Source, cache: str | os.PathLike[str] | None) -> dict[SourceFile, Path | None]:
    """Return where each file of a set is, `None` if nowhere; whether it is the right one is not looked at."""
    return {file: _find(source, file, cache) for file in source.files}


def cached_folder(source: Source, cache: str | os.PathLike[str] | None) -> Path:
    """Return a set's folder in the cache."""
    return _folders(source, cache)["cache"]


def missing_line(source: Source, file: SourceFile, cache: str | os.PathLike[str] | None) -> str:
    """Return what to say of a file that is not here and may not be offered for download."""
    return (
        f"{source.name} cannot be downloaded, and {file.name} is not here: {source.how}; put its files into "
        f"{cached_folder(source, cache)}, or set HOLOPROP_DATA to a folder with {source.name}/{file.name} in it"
    )


def has_checksum(path: Path, file: SourceFile) -> bool:
    """Return whether the checksum of `file` is that of the form in which it was found."""
    return path.name == Path(file.name).name


def difference(path: Path, file: SourceFile) -> str | None:
    """Return what sets the file at `path` apart from the published one, or `None`.

    **Raises:** `DataError` if it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            digest = hashlib.file_digest(stream, file.algorithm).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if digest == file.digest:
        return None
    expected = "" if file.size is None else f" ({file.size:,} bytes)"
    return (
        f"{path} is not the official file: expected {file.algorithm} {file.digest[:16]}…{expected}, "
        f"got {digest[:16]}… ({size:,} bytes)"
    )


def _obtain(
    source: Source,
    file: SourceFile,
    cache: str | os.PathLike[str] | None,
    *,
    verify: bool,
    replace: bool,
    progress: DownloadProgress | None,
) -> Path:
    folders = _folders(source, cache)
    path = _find(source, file, cache)
    checked = path is not None and verify and has_checksum(path, file)
    problem = difference(path, file) if path is not None and checked else None
    if path is not None and problem is None:
        return path
    if path is not None and not (replace and folders["cache"] in path.parents):
        better = f"get it anew: {source.how}" if source.how else "delete it to have it downloaded again"
        raise DataError(f"{problem}; {better}, or load it as it is by load_dataset({source.name!r}, verify=False)")
    if source.how:
        raise DataError(missing_line(source, file, cache))
    if source.archive is None:
        with _alone(folders["cache"]):
            made = _find(source, file, cache) if path is None else None
            return made or _download(source, file, folders["cache"], progress)
    archive = _obtain(
        dataclasses.replace(source, archive=None),
        source.archive,
        cache,
        verify=verify,
        replace=replace,
        progress=progress,
    )
    with _alone(folders["cache"]):
        # Another process may have made it meanwhile; whether it is the right one was its to see to.
        made = _find(source, file, cache) if path is None else None
        if made is None:
            unpack(archive, source.files, folders["cache"], verify=verify)
    return made or folders["cache"] / file.name


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process of this machine makes files in the folder.

    **Raises:** `DataError` if it cannot be made or opened.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone(folder))
        except OSError as error:
            raise DataError(
                f"cannot write to {folder}: {error.strerror}; set HOLOPROP_CACHE to another folder"
            ) from None
        yield


def _folders(source: Source, cache: str | os.PathLike[str] | None) -> dict[str, Path]:
    """The folders to look in, in this order, by how `Availability.place` calls them."""
    folders = {}
    if given := os.environ.get("HOLOPROP_DATA"):
        root = Path(given).expanduser()
        if not root.is_dir():
            raise DataError(f"HOLOPROP_DATA={given} is not a folder; correct it or unset it")
        folders["HOLOPROP_DATA"] = root / source.name
    return {**folders, "cache": cache_root(cache) / source.name}


def _find(source: Source, file: SourceFile, cache: str | os.PathLike[str] | None) -> Path | None:
    paths = (
        folder / inner / f"{file.name}{ending}"
        for folder in _folders(source, cache).values()
        for ending in source.endings
        for inner in source.folders
    )
    return next((path for path in paths if os.path.exists(path)), None)


def _arrays(source: Source, cache: str | os.PathLike[str] | None) -> list[Path]:
    """The folders where arrays made of the files may be."""
    large = source.format == "imagenet32"
    return list(stored_folders(cached_folder(source, cache)).values()) if large else []


def _place(source: Source, cache: str | os.PathLike[str] | None) -> str:
    if not source.files:
        return "built in"
    folders = _folders(source, cache)
    found = [_find(source, file, cache) for file in source.files]
    if None in found and any(whole_manifest(folder, source.image_shape) for folder in _arrays(source, cache)):
        return "converted"
    if None in found:
        packed = None if source.archive is None else _find(source, source.archive, cache)
        found = [packed]
    if None in found:
        return "not downloaded"
    parents = {parent for path in found if path is not None for parent in path.parents}
    return " + ".join(place for place, folder in folders.items() if folder in parents)


def _download(source: Source, file: SourceFile, folder: Path, progress: DownloadProgress | None) -> Path:
    import pooch

    failures = []
    with _silence(pooch.get_logger()) if progress else contextlib.nullcontext():
        for mirror in source.mirrors:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path = pooch.retrieve(
                    mirror + file.name,
                    known_hash=file.checksum,
                    fname=file.name,
                    path=folder,
                    downloader=cast(Any, _Downloader(file, progress)),
                )
                return Path(path)
            except OSError as error:
                # What comes from the network carries no errno of its own; what has one happened on this machine.
                if error.errno is not None:
                    raise DataError(
                        f"cannot write {file.name} to {folder}: {error.strerror}; set HOLOPROP_CACHE to another folder"
                    ) from None
                failures.append(f"{urlsplit(mirror).netloc}: {_reason(error)}")
            except ValueError:
                failures.append(f"{urlsplit(mirror).netloc}: not the official file")
    raise DataError(
        f"cannot download {source.name}'s {file.name} ({'; '.join(failures)}); put it into {folder} by hand, "
        f"or set HOLOPROP_DATA to a folder with {source.name}/{file.name} in it"
    )


def _reason(error: OSError) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"HTTP {status}" if status is not None else type(error).__name__


@contextlib.contextmanager
def _silence(logger: logging.Logger) -> Iterator[None]:
    """Hold back pooch's own notes, which would tear a progress display apart."""

    # A filter and not a level: pooch's logger stands outside logging's hierarchy and remembers old levels.
    def nothing(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(nothing)
    try:
        yield
    finally:
        logger.removeFilter(nothing)


class _Downloader:
    """Download one file for pooch, and no more bytes than it has."""

    def __init__(self, file: SourceFile, progress: DownloadProgress | None) -> None:
        self.file, self.progress = file, progress

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool | None = False) -> None:
        from pooch import HTTPDownloader

        # Without this header a server may zip the file once more, or a client unzip it; either way it is another file.
        download = HTTPDownloader(chunk_size=1 << 16, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"})
        with open(output_file, "wb") as file:
            download(url, _Meter(file, self.file, self.progress), None)


class _Meter:
    """A writable file that counts what it is given."""

    def __init__(self, file: IO[bytes], expected: SourceFile, progress: DownloadProgress | None) -> None:
        self.file, self.expected, self.progress, self.count = file, expected, progress, 0

    def write(self, data: bytes) -> int:
        self.count += len(data)
        size = self.expected.size
        if size is not None and self.count > size:
            raise ValueError(f"more than the {size} bytes of {self.expected.name}")
        if self.progress is not None:
            self.progress(self.expected.name, self.count, size or 0)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()
