"""Augmentation: training images moved and mirrored at random, inside the compiled training step.

With `m` pixels of a fill around the image, `p = pad(x, m)`, a crop of the image's own size moves it,

    x'[i, j] = p[i + a, j + b],      a, b ~ U{0 … 2m},

and a flip mirrors it left to right with probability ½. Every sample has draws of its own. They depend on nothing but
the key, which a training step makes of (seed, step), so a resumed run sees the very images that it would have seen.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

Images = Float[Array, "batch height width channels"]


class Augmentation(eqx.Module):
    """Random crop, then random flip, of a batch of training images: `fit(…, augment=Augmentation(4, flip=True))`.

    **Attributes:**

    - `crop_padding`: pixels put around the image on each side before the crop; 0 for no crop.
    - `flip`: whether to mirror.
    - `fill`: what is put around it, one number a channel; `None` for zeros. Of normalised images it is a black pixel,
      normalised, if the padding is to be black.
    - `image_shape`: height, width, channels of inputs that are flat, `(batch, features)`, as dense networks take them;
      `None` for inputs `(batch, height, width, channels)`.

    **Raises:** `ValueError` for a negative `crop_padding`.

    Source: crop and flip of CIFAR-10 as in P1 (arXiv 2209.00530), whose published code pads 32×32 images to 36×36 with
    black, so `crop_padding = 2`.

    ```python
    augment = hp.Augmentation(crop_padding=2, flip=True)
    result = hp.fit(net, estimator, optimizer, (x, y), epochs=3, batch_size=20, augment=augment)
    ```
    """

    crop_padding: int = eqx.field(static=True, default=0)
    flip: bool = eqx.field(static=True, default=False)
    fill: tuple[float, ...] | None = eqx.field(static=True, default=None)
    image_shape: tuple[int, int, int] | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.crop_padding < 0:
            raise ValueError(f"crop_padding must not be negative, got {self.crop_padding}")

    def __call__(self, x: Float[Array, "batch *shape"], key: PRNGKeyArray) -> Float[Array, "batch *shape"]:
        """Return the batch with every sample moved and mirrored, in its own shape and dtype; traceable.

        **Raises:** `ValueError` if the samples are no images and there is no `image_shape` to tell how they are, or it
        or `fill` does not fit them.
        """
        if x.ndim != 4 and self.image_shape is None:
            raise ValueError(
                f"augmentation needs x of shape (batch, height, width, channels), got {x.shape}: give it the "
                "image_shape of flat inputs"
            )
        if self.image_shape is not None and math.prod(self.image_shape) != math.prod(x.shape[1:]):
            raise ValueError(f"image_shape {self.image_shape} does not fit samples of shape {x.shape[1:]}")
        images = x if self.image_shape is None else x.reshape(len(x), *self.image_shape)
        if self.fill is not None and len(self.fill) != images.shape[-1]:
            raise ValueError(f"fill must be one number for each of {images.shape[-1]} channels, got {self.fill}")
        crop_key, flip_key = jax.random.split(key)
        if self.crop_padding:
            images = random_crop(images, self.crop_padding, fill=self.fill, key=crop_key)
        if self.flip:
            images = random_flip(images, key=flip_key)
        return images.reshape(x.shape)


def random_crop(images: Images, padding: int, *, fill: tuple[float, ...] | None = None, key: PRNGKeyArray) -> Images:
    """Return from each image, `padding` pixels of `fill` put around it, a part of its own size at a random place.

    **Arguments:** `images`: `(batch, height, width, channels)`; `padding`: pixels on each side, `m` above; `fill`: one
    number a channel, `None` for zeros; `key`: of all draws.
    """
    n, height, width, channels = images.shape
    colour = jnp.asarray((0.0,) * channels if fill is None else fill, images.dtype)
    canvas = jnp.broadcast_to(colour, (n, height + 2 * padding, width + 2 * padding, channels))
    canvas = lax.dynamic_update_slice(canvas, images, (0, padding, padding, 0))
    corners = jax.random.randint(key, (n, 2), 0, 2 * padding + 1)

    def cut(image: Array, corner: Array) -> Array:
        return lax.dynamic_slice(image, (corner[0], corner[1], jnp.zeros_like(corner[0])), (height, width, channels))

    return jax.vmap(cut)(canvas, corners)


def random_flip(images: Images, *, key: PRNGKeyArray) -> Images:
    """Return the images, each mirrored left to right with probability ½.

    **Arguments:** `images`: `(batch, height, width, channels)`; `key`: of all draws.
    """
    mirrored = jax.random.bernoulli(key, 0.5, (len(images), 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)
