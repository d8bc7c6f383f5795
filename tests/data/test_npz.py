"""Arrays in npz files. Oracle: NumPy's own writer, and zips that are forged by hand."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from holoprop.data.dataset import DataError
from holoprop.data.npz import Npz

ROWS = np.arange(35, dtype=np.uint8).reshape(7, 5)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def forged(path: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as packed:
        packed.writestr("data.npy", content)
    return path


def refusal(path: Path, name: str = "data") -> str:
    with pytest.raises(DataError) as caught, Npz(path) as arrays:
        arrays.read(name)
    line = str(caught.value)
    assert line.startswith(str(path)) and "\n" not in line
    return line.removeprefix(f"{path} ")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array",
    [ROWS, ROWS[:0], np.array(3.5), np.arange(6, dtype=">i4").reshape(2, 3), np.asfortranarray(ROWS), np.array([True])],
    ids=["rows", "no rows", "a number", "big-endian", "column by column", "truth"],
)
def test_arrays_come_back(tmp_path: Path, save, array: np.ndarray) -> None:
    save(tmp_path / "a.npz", data=array, other=np.zeros(2))
    with Npz(tmp_path / "a.npz") as arrays:
        assert "data" in arrays and "mean" not in arrays
        assert arrays.described("data") == (array.dtype, array.shape)
        found = arrays.read("data")
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("count", [1, 3, 7, 100])
def test_rows_come_piece_by_piece(tmp_path: Path, count: int) -> None:
    np.savez_compressed(tmp_path / "a.npz", data=ROWS, columns=np.asfortranarray(ROWS))
    with Npz(tmp_path / "a.npz") as arrays:
        pieces = list(arrays.rows("data", count))
        assert [len(piece) for piece in pieces] == [len(ROWS[i : i + count]) for i in range(0, 7, count)]
        np.testing.assert_array_equal(np.concatenate(pieces), ROWS)
        with pytest.raises(DataError, match="must hold 'columns' row by row, but holds it column by column"):
            list(arrays.rows("columns", count))


def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, data=ROWS)
    assert refusal(path, "labels") == "must hold an array 'labels'; is it another set's file?"
    for array in (np.array([None]), np.array(["x"]), np.zeros(2, [("a", "u1")]), np.zeros(1, "M8[s]")):
        assert "which is no array of numbers" in refusal(forged(path, npy(array)))
    assert refusal(forged(path, b"text")) == "holds 'data' in another form than arrays of numbers have"
    assert refusal(forged(path, npy(ROWS), zipfile.ZIP_LZMA)) == "is zipped by another method than npz files are"
    path.write_bytes(b"PK")
    assert refusal(path) == "is no whole npz file (BadZipFile); fetch it again"
    assert refusal(tmp_path / "nowhere.npz") == "cannot be read: No such file or directory"
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "w") as packed:
        packed.writestr("data.npy", npy(ROWS))
        packed.writestr("data.npy", npy(ROWS))
    assert refusal(path) == "holds 'data.npy' twice; fetch it again"
    with zipfile.ZipFile(path, "w") as packed:
        for i in range(65):
            packed.writestr(str(i), b"")
    assert refusal(path) == "holds 65 files, more than the 64 that are read"


def test_sizes_are_believed_only_with_their_bytes(tmp_path: Path) -> None:
    """A header of 10¹⁵ rows, one of more than 2 GiB, and bombs: 64 MB of zeros are 65 kB, which zips to a few."""
    path = tmp_path / "a.npz"
    whole = npy(np.zeros((7, 5), np.uint8))
    for rows, word in ((b"7000", "holds other than that"), (b"9" * 15, "more than the 2,147,483,648 that are read")):
        line = refusal(forged(path, whole.replace(b"(7, 5), }" + b" " * (len(rows) - 1), b"(" + rows + b", 5), }")))
        assert line.startswith("claims ") and word in line
    assert "holds other than that" in refusal(forged(path, npy(ROWS)[:-3]))
    assert "holds other than that" in refusal(forged(path, npy(ROWS) + b"more"))
    # What the zip says of its size is a claim, too.
    np.savez_compressed(path, data=ROWS)
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    assert "holds other than that" in refusal(path)
    dimensions = npy(np.zeros((1,) * 40, np.uint8))
    assert refusal(forged(path, dimensions)) == "holds 'data' of 40 dimensions, more than the 32 that are read"


def test_damage_is_noticed_by_the_checksum(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", data=ROWS)
    content = (tmp_path / "a.npz").read_bytes()
    place = content.index(ROWS.tobytes())
    (tmp_path / "a.npz").write_bytes(content[:place] + b"\xff" + content[place + 1 :])
    assert refusal(tmp_path / "a.npz") == "is no whole npz file (BadZipFile); fetch it again"
