"""Files that are whole or absent, and the folder for what can be made or fetched again."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path`: whoever reads meanwhile, or after a crash, finds the old file or the new one, whole.

    It is written beside its place, brought to the disk and moved there. Nothing is left beside it if that fails, and
    what a killed process left there the next write replaces; hence one writer a path at a time.

    **Raises:** `OSError` as the file system does; the old file is then untouched.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process makes files in the folder; the system frees the place of one that is killed.

    **Raises:** `OSError` if the folder cannot be made or opened.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        # Where there are no such locks, one process at a time is the user's to see to.
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def cache_root(chosen: str | os.PathLike[str] | None = None) -> Path:
    """Return `chosen`, or else `HOLOPROP_CACHE`, or else this machine's user cache; the folder need not exist."""
    chosen = chosen or os.environ.get("HOLOPROP_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("holoprop")).expanduser()
