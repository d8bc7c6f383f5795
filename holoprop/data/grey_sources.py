"""The sets of grey images in the registry, and the digits that come with scikit-learn."""

from holoprop.data.source import Source, SourceFile

_DIGIT_NAMES = tuple(str(digit) for digit in range(10))

GREY_SOURCES = (
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
                "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            SourceFile(
                "train-labels-idx1-ubyte.gz",
                28_881,
                "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            SourceFile(
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            SourceFile(
                "t10k-labels-idx1-ubyte.gz",
                4_542,
                "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
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
                "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            SourceFile(
                "train-labels-idx1-ubyte.gz",
                29_515,
                "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            SourceFile(
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            SourceFile(
                "t10k-labels-idx1-ubyte.gz",
                5_148,
                "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
    ),
)
