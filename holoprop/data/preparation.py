"""From pixels to inputs, inside the compiled step: `x = pixel / scale`, normalised channel by channel.

    x = pixel / scale,      (x − mean) / std.

Pixels are a quarter of the bytes of single-precision inputs, in memory and on the way to a device.
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8


class Preparation(eqx.Module):
    """What pixels `(batch, height, width, channels)` become: `fit(…, prepare=Preparation(255))`.

    **Attributes:** `scale`: the pixel value of an input of 1; `mean`, `std`: one number a channel, in units of inputs;
    `flat`: whether inputs are `(batch, features)`, as dense networks take them; `dtype`: of the inputs, by name.

    **Raises:** `ValueError` for a deviation or scale that is not positive, or as many means as there are not
    deviations.

    ```python
    train = hp.load_dataset("cifar-10").train
    prepare = hp.Preparation(train.scale, mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26))
    hp.fit(net, estimator, optimizer, (train.images, train.labels), epochs=3, batch_size=20, prepare=prepare)
    ```
    """

    scale: Float[Array, ""]
    mean: Float[Array, " channels"]
    std: Float[Array, " channels"]
    flat: bool = eqx.field(static=True)

    def __init__(
        self,
        scale: int = 255,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        *,
        flat: bool = False,
        dtype: str = "float32",
    ) -> None:
        if scale <= 0 or (std is not None and min(std) <= 0):
            raise ValueError(f"scale and std must be positive, got {scale} and {std}")
        if mean is not None and std is not None and len(mean) != len(std):
            raise ValueError(f"mean and std must be one for each channel, got {len(mean)} and {len(std)} numbers")
        # Rounded to single precision first, as in `Split.inputs`; arrays, so that no constant is folded into another.
        self.scale = jnp.asarray(np.float32(scale), dtype)
        self.mean = jnp.asarray(np.asarray((0.0,) if mean is None else mean, np.float32), dtype)
        self.std = jnp.asarray(np.asarray((1.0,) if std is None else std, np.float32), dtype)
        self.flat = flat

    def __call__(self, pixels: UInt8[Array | np.ndarray, "batch height width channels"]) -> Float[Array, "batch ..."]:
        """Return the inputs; traceable.

        **Raises:** `ValueError` if there are not as many channels as means or deviations.
        """
        channels = pixels.shape[-1]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ValueError(f"{name} must be one for each of {channels} channels, got {len(values)}")
        inputs = (jnp.asarray(pixels).astype(self.scale.dtype) / self.scale - self.mean) / self.std
        return inputs.reshape(len(pixels), -1) if self.flat else inputs
