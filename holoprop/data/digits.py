"""The built-in data set: scikit-learn's 1,797 handwritten digits of 8×8 pixels, and its fixed split.

Pixels count the dark dots in 4×4 blocks, so they run from 0 to 16 and `x = pixel / 16`. The set has no official test
part; here each class gives its share of 360 samples, drawn without replacement by
`numpy.random.default_rng(SPLIT_SEED)`, class by class.
"""

import hashlib

import numpy as np
from jaxtyping import Int, Int32, UInt8

from holoprop.data.dataset import DataError, Split

SCALE = 16
TEST_SAMPLES = 360
SPLIT_SEED = 0

_SHAPE = (1797, 8, 8)
# Of the pixels, then the labels, each a byte a value.
_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def read_digits() -> tuple[Split, Split]:
    """Return the train part (1,437 samples) and the test part (360), each in the order of the original.

    **Raises:** `DataError` if scikit-learn is not installed or its 1,797 digits are not those of the known sha256.

    **Source:** Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998).
    """
    images, labels = _known()
    test = stratified_choice(labels, TEST_SAMPLES, np.random.default_rng(SPLIT_SEED))
    held_out = np.zeros(len(labels), bool)
    held_out[test] = True
    images = images[..., None]
    return Split(images[~held_out], labels[~held_out], SCALE), Split(images[held_out], labels[held_out], SCALE)


def digits_problem() -> str | None:
    """Return what is wrong with scikit-learn's digits on this machine, in one line, or None."""
    try:
        _known()
    except DataError as error:
        return str(error)
    return None


def stratified_choice(labels: Int[np.ndarray, " n"], count: int, rng: np.random.Generator) -> Int[np.ndarray, " count"]:
    """Draw `count` samples so that every class keeps its share, to within one sample.

    Class c with n_c of n samples gives ⌊count·n_c/n⌋ of them; the rest goes to the largest remainders, ties to the
    lower label.

    **Returns:** indices `(count,)`, increasing.

    **Raises:** `DataError` unless 0 < `count` < n.
    """
    if not 0 < count < len(labels):
        raise DataError(f"count must be in 1 … {len(labels) - 1}, below the number of samples, got {count}")
    classes, sizes = np.unique(labels, return_counts=True)
    quota, remainder = np.divmod(count * sizes, len(labels))
    quota[np.argsort(-remainder, kind="stable")[: count - quota.sum()]] += 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:share] for label, share in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _known() -> tuple[UInt8[np.ndarray, "n 8 8"], Int32[np.ndarray, " n"]]:
    images, labels = _original()
    digest = hashlib.sha256(images.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if digest != _SHA256:
        raise DataError(
            f"scikit-learn's digits have changed: expected sha256 {_SHA256[:16]}… of the arrays, got {digest[:16]}…; "
            "try another version of it"
        )
    return images, labels


def _original() -> tuple[UInt8[np.ndarray, "n 8 8"], Int32[np.ndarray, " n"]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(f"the data set digits needs scikit-learn ({error}): pip install scikit-learn") from None
    images, labels = load_digits(return_X_y=True)
    if images.shape != (_SHAPE[0], _SHAPE[1] * _SHAPE[2]) or labels.shape != _SHAPE[:1]:
        raise DataError(
            f"scikit-learn's digits must be of shape (1797, 64), got {images.shape}; try another version of it"
        )
    return images.reshape(_SHAPE).astype(np.uint8), labels.astype(np.int32)
