"""The MATLAB files of SVHN's cropped digits: images `X` and labels `y`.

`X` is `(32, 32, 3, n)` uint8, pixel by pixel the values of all images; `y` is `(n, 1)`, the digits 1 … 9 and, for the
digit 0, the number 10, since MATLAB counts from 1.

Source: the format as its authors describe it on the SVHN page (Netzer et al. 2011).
"""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from holoprop.data.dataset import DataError
from holoprop.data.limits import DEFLATE_RATIO, MAX_BYTES


def read_svhn(
    path: Path, *, image_shape: tuple[int, int, int]
) -> tuple[UInt8[np.ndarray, "n height width channels"], Int32[np.ndarray, " n"]]:
    """Read one part of the set.

    **Arguments:** `path`: of the `.mat` file; `image_shape`: height, width and channels that the images must have.

    **Returns:** images `(n, height, width, channels)` uint8 and labels `(n,)` int32, the digits 0 … 9.

    **Raises:** `DataError`, one line that names the file, if it cannot be read, is no MATLAB file, is damaged, claims
    more than it can hold, or holds other shapes, dtypes, counts or labels.
    """
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    try:
        size = path.stat().st_size
        claims = {name: (shape, math.prod(shape)) for name, shape, _ in whosmat(path)}
        if missing := [name for name in ("X", "y") if name not in claims]:
            raise DataError(f"{path} must hold the arrays X and y, but lacks {missing[0]}; is it another set's file?")
        for name in ("X", "y"):
            shape, items = claims[name]
            if items > min(MAX_BYTES, size * DEFLATE_RATIO):
                raise DataError(f"{path} claims shape {shape} for {name}, more than it can hold; fetch it again")
        arrays = loadmat(path, variable_names=["X", "y"])
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None
    except NotImplementedError:
        raise DataError(f"{path} is a MATLAB file of version 7.3, but SVHN's are of version 5") from None
    # A damaged file can fail in any of these ways, deep inside scipy's reader.
    except (MatReadError, zlib.error, EOFError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise DataError(f"{path} is no whole MATLAB file ({type(error).__name__}); fetch it again") from None
    except (AttributeError, MemoryError, RecursionError) as error:
        raise DataError(f"{path} is no whole MATLAB file ({type(error).__name__}); fetch it again") from None
    return _checked(arrays["X"], arrays["y"], path, image_shape)


def _checked(x: Any, y: Any, path: Path, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != image_shape:
        found = f"{x.dtype} of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise DataError(f"{path} must hold uint8 images of shape {(*image_shape, 'n')}, but its X is {found}")
    if not isinstance(y, np.ndarray) or y.dtype.kind not in "biuf" or y.size != x.shape[3]:
        found = f"{y.dtype} of shape {y.shape}" if isinstance(y, np.ndarray) else type(y).__name__
        raise DataError(f"{path} must hold one label for each of {x.shape[3]} images, but its y is {found}")
    labels = y.ravel()
    # Written so, numbers that are no numbers are wrong as well.
    wrong = ~((labels >= 1) & (labels <= 10) & (labels == np.floor(labels)))
    if wrong.any():
        raise DataError(f"{path} has label {labels[wrong][0]}, but labels are 1 … 10, where 10 is the digit 0")
    return np.ascontiguousarray(x.transpose(3, 0, 1, 2)), labels.astype(np.int32) % 10
