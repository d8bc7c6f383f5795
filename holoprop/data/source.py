"""What the registry says of a data set: its files and their checksums, mirrors, shapes, classes, licence.

A checksum is written `algorithm:digest`, as pooch writes it: `sha256:…`, or `md5:…` where publishers and literature
know that one only. A file is the official one iff its checksum is.
"""

import dataclasses
import hashlib
from typing import Literal, NamedTuple


class SourceFile(NamedTuple):
    """A published file: its name, size in bytes (`None` where nobody states it) and checksum."""

    name: str
    size: int | None
    checksum: str

    @property
    def algorithm(self) -> str:
        """The checksum's algorithm, as `hashlib` names it."""
        return self.checksum.partition(":")[0]

    @property
    def digest(self) -> str:
        """The checksum itself, in hexadecimal digits."""
        return self.checksum.partition(":")[2]

    def is_content(self, content: bytes) -> bool:
        """Return whether the file is made of these very bytes."""
        return hashlib.new(self.algorithm, content).hexdigest() == self.digest


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a data set comes from and what it holds.

    **Attributes:**

    - `name`, `title`: for programs and for people.
    - `train`, `test`: the number of samples in each part.
    - `image_shape`: height, width, channels; `class_names`: in the order of the labels.
    - `mean`, `std`: of all pixels of a channel of the training images, in units of `scale`, rounded to four digits: the
      numbers by which the field normalises these sets. (P1's code divides CIFAR-10 by 1.5 × (0.2023, 0.1994, 0.2010),
      which are deviations within an image, averaged over images.)
    - `licence`, `home`: the terms and the publisher's page.
    - `format`: `"idx"` (files are train images, train labels, test images, test labels), `"cifar"` (batches, the last
      one the test set), `"svhn"` (MATLAB files, train and test), `"imagenet32"` (batches, the last one the test set,
      too large to be read at once), or `""` for a set that comes with a dependency and has no files.
    - `label_key`: what the labels are called in a batch; `first_label`: the label of the first class.
    - `files`: by their paths in the set's folder.
    - `folders`, `endings`: a file may also lie in one of these folders of the set's own, or have one of these endings.
    - `archive`: what they are published in, if not one by one.
    - `mirrors`: addresses to which the name of a file, or of the archive, is appended, in the order in which they are
      tried; none where the set may not be offered for download.
    - `how`: how to get such a set, in one sentence.
    """

    name: str
    title: str
    train: int
    test: int
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str
    home: str
    format: Literal["", "idx", "cifar", "svhn", "imagenet32"] = ""
    label_key: str = "labels"
    first_label: int = 0
    files: tuple[SourceFile, ...] = ()
    folders: tuple[str, ...] = ("",)
    endings: tuple[str, ...] = ("",)
    archive: SourceFile | None = None
    mirrors: tuple[str, ...] = ()
    how: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files together, as far as their sizes are known."""
        return sum(file.size or 0 for file in self.files)
