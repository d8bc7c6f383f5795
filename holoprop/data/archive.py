"""Files out of a published archive, one by one and never by a path that the archive chooses."""

import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from holoprop.data.dataset import DataError
from holoprop.data.files import write_atomic
from holoprop.data.source import SourceFile

# Read of a file whose size nobody states.
_MOST = 2**31


def unpack(archive: Path, files: Sequence[SourceFile], folder: Path, *, verify: bool) -> None:
    """Write the wanted files of a tar archive, compressed or not, under `folder`, each whole or not at all.

    **Arguments:** `files`: their names in the archive, which are their paths under `folder` too; whatever else is in
    the archive is passed over; `verify`: whether each must have its published checksum.

    **Raises:** `DataError`, one line, if the archive is damaged, lacks a file, holds another in its place, or `folder`
    cannot be written.
    """
    wanted = {file.name: file for file in files}
    try:
        with tarfile.open(archive) as packed:
            for member in packed:
                file = wanted.get(member.name)
                if file is None or not member.isfile():
                    continue
                # No more than the official file has, whatever the archive claims.
                stream = packed.extractfile(member)
                content = b"" if stream is None else stream.read(_MOST if file.size is None else file.size + 1)
                if verify and not file.is_content(content):
                    raise DataError(f"{archive} holds another {file.name} than the official one; fetch it again")
                _write(folder / file.name, content)
                del wanted[file.name]
                if not wanted:
                    return
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{archive} is damaged ({type(error).__name__}); fetch it again") from None
    except OSError as error:
        raise DataError(f"{archive} cannot be read: {error.strerror or type(error).__name__}") from None
    raise DataError(f"{archive} lacks {', '.join(wanted)}; fetch it again")


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; set HOLOPROP_CACHE to another folder") from None
