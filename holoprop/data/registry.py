"""What data sets there are: their files, checksums, mirrors, shapes, classes and licences.

A file is the official one iff its sha256 is. Every file of a set is offered by at least two mirrors that are run
apart.
"""

import dataclasses
import difflib
from typing import NamedTuple

from holoprop.data.dataset import DataError


class SourceFile(NamedTuple):
    """A published file: its name, size in bytes and checksum."""

    name: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a data set comes from and what it holds.

    **Attributes:**

    - `name`, `title`: for programs and for people.
    - `train`, `test`: the number of samples in each part.
    - `image_shape`: height, width, channels; `class_names`: in the order of the labels.
    - `licence`, `home`: the terms and the publisher's page.
    - `files`: train images, train labels, test images, test labels; none for a set that comes with a dependency.
    - `mirrors`: addresses to which a file's name is appended, in the order in which they are tried.
    """

    name: str
    title: str
    train: int
    test: int
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    licence: str
    home: str
    files: tuple[SourceFile, ...] = ()
    mirrors: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


_DIGIT_NAMES = tuple(str(digit) for digit in range(10))

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            name="digits",
            title="Handwritten digits, 8×8 (built in)",
            train=1437,
            test=360,
            image_shape=(8, 8, 1),
            class_names=_DIGIT_NAMES,
            licence="CC BY 4.0",
            home="https://archive.ics.uci.edu/dataset/80",
        ),
        Source(
            name="mnist",
            title="Handwritten digits, 28×28",
            train=60_000,
            test=10_000,
            image_shape=(28, 28, 1),
            class_names=_DIGIT_NAMES,
            licence="CC BY-SA 3.0",
            home="http://yann.lecun.com/exdb/mnist/",
            files=(
                SourceFile(
                    "train-images-idx3-ubyte.gz",
                    9_912_422,
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                ),
                SourceFile(
                    "train-labels-idx1-ubyte.gz",
                    28_881,
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                ),
                SourceFile(
                    "t10k-images-idx3-ubyte.gz",
                    1_648_877,
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                ),
                SourceFile(
                    "t10k-labels-idx1-ubyte.gz",
                    4_542,
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                ),
            ),
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
        ),
        Source(
            name="fashion-mnist",
            title="Articles of clothing, 28×28",
            train=60_000,
            test=10_000,
            image_shape=(28, 28, 1),
            class_names=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            licence="MIT",
            home="https://github.com/zalandoresearch/fashion-mnist",
            files=(
                SourceFile(
                    "train-images-idx3-ubyte.gz",
                    26_421_880,
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                ),
                SourceFile(
                    "train-labels-idx1-ubyte.gz",
                    29_515,
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                ),
                SourceFile(
                    "t10k-images-idx3-ubyte.gz",
                    4_422_102,
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                ),
                SourceFile(
                    "t10k-labels-idx1-ubyte.gz",
                    5_148,
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            ),
            mirrors=(
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            ),
        ),
    )
}


def find_source(name: str) -> Source:
    """Return what is known of the data set `name`.

    **Raises:** `DataError` with the known names, and the likely one, if there is no such set.
    """
    if name in SOURCES:
        return SOURCES[name]
    likely = difflib.get_close_matches(name.lower().replace("_", "-"), SOURCES, n=1)
    hint = f"; did you mean {likely[0]!r}?" if likely else ""
    raise DataError(f"unknown data set {name!r}, known are {', '.join(sorted(SOURCES))}{hint}")
