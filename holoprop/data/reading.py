"""Images of a split, a batch at a time, in bounded memory however many there are.

What was looked at of a file that is mapped into memory counts as this process's memory, and a system may bring in
megabytes around every image. So a reader does not look at the mapping: it reads each image from the file, into a batch
of its own,

    file position of image i  =  position of image 0  +  i · (bytes from one image to the next),

and all that stays is in the system's cache, which gives way when memory is needed.
"""

import operator
import os
import weakref
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

Index = slice | Sequence[int] | np.ndarray


class ImageReader:
    """The images of a split by their indices: `reader = ImageReader(split.images)`, then `reader[index]`.

    **Attributes:** `images`: `(n, height, width, channels)` uint8, in memory or mapped. Images in memory are merely
    indexed.

    **Raises:** `OSError` if the mapped file can no longer be opened.

    ```python
    reader = ImageReader(hp.load_dataset("imagenet32").train.images)
    batch = reader[np.array([5, 17, 3])]                     # (3, 32, 32, 3) uint8
    ```
    """

    def __init__(self, images: UInt8[np.ndarray, "n height width channels"]) -> None:
        self.images = np.asarray(images)
        place = _position(images)
        self._mapped, self._file, self._start = place is not None, -1, 0
        # Images that are not in one piece, and systems without such reads, are left to the mapping.
        if place is not None and images.size and images[0].flags.c_contiguous and hasattr(os, "preadv"):
            path, self._start = place
            self._file = os.open(path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)

    @property
    def mapped(self) -> bool:
        """Whether the images are in a mapped file, rather than in memory."""
        return self._mapped

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __reduce__(self) -> tuple[type["ImageReader"], tuple[np.ndarray]]:
        """Return what a copy is made of: another process has no use for an opened file of this one."""
        return ImageReader, (self.images,)

    def __getitem__(self, index: Index) -> UInt8[np.ndarray, "batch height width channels"]:
        """Return the images at a slice or at integers; of a mapped file, a copy in memory.

        **Raises:** `IndexError` for an image that there is not; `OSError` if the file has become shorter.
        """
        if self._file < 0:
            return np.array(self.images[index]) if self.mapped else self.images[index]
        chosen = _integers(index, len(self.images))
        batch = np.empty((len(chosen), *self.images.shape[1:]), np.uint8)
        content, width, step = batch.reshape(-1).data, batch[:1].nbytes, self.images.strides[0]
        if isinstance(chosen, range) and chosen.step == 1 and step == width:
            self._read(content, chosen.start * step)
        else:
            for place, image in enumerate(chosen):
                self._read(content[place * width : (place + 1) * width], image * step)
        return batch

    def _read(self, content: memoryview, offset: int) -> None:
        done = 0
        while done < len(content):
            count = os.preadv(self._file, [content[done:]], self._start + offset + done)
            if not count:
                raise OSError("a file of images has become shorter while it was read")
            done += count


def _integers(index: Index, count: int) -> range | list[int]:
    """The images that an index names, counted from the first one."""
    if isinstance(index, slice):
        return range(*index.indices(count))
    found = np.asarray(index)
    if found.dtype == bool:
        if found.shape != (count,):
            raise IndexError(f"{found.shape} truth values for {count} images")
        return np.flatnonzero(found).tolist()
    if not found.size:
        return []
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise IndexError(f"images are named by a slice or a list of integers, got {found.dtype} of shape {found.shape}")
    for wrong in (found.min(), found.max()):
        if not -count <= wrong < count:
            raise IndexError(f"there is no image {operator.index(wrong)} among {count}")
    return np.where(found < 0, found + count, found).tolist()


def _position(array: np.ndarray) -> tuple[str, int] | None:
    """The file behind an array and where in it the array begins, if it is a view of a mapped one."""
    file: np.memmap | None = None
    base: object = array
    while isinstance(base, np.ndarray):
        file = base if isinstance(base, np.memmap) else file
        base = base.base
    # The outermost knows its place in the file; a copy, which also calls itself a memmap, is of no file.
    if file is None or base is None or file.filename is None:
        return None
    apart = array.__array_interface__["data"][0] - file.__array_interface__["data"][0]
    return str(file.filename), file.offset + apart
