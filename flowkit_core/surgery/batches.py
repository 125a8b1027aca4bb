"""Data in batches, and what surgery demands of the sites of a model and a guide."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flowkit_core.surgery.tiles import slices

Arguments = tuple[Any, ...]


def batches_of(data: Any, batch_size: int, *, allow_none: bool = False) -> Iterator[Arguments]:
    """Arguments of model and guide, batch by batch.

    Args:
        data: an array whose first axis is that of data points, a tuple of such arrays (several
            arguments), or an iterable of batches, each an array or a tuple or list of arrays.
        batch_size: rows of a batch, where the data are arrays.
        allow_none: whether arrays may be empty.

    Raises:
        TypeError: for data that cannot be taken apart.
        ValueError: for no data, or arrays of different length.

    Example:
        >>> import numpy as np
        >>> [len(x) for (x,) in batches_of(np.zeros((5, 3)), 2)]
        [2, 2, 1]
    """
    arrays = data if isinstance(data, tuple) else (data,)
    if all(_is_array(array) for array in arrays):
        lengths = {len(array) for array in arrays}
        if len(lengths) != 1 or (0 in lengths and not allow_none):
            raise ValueError(
                "data: expected at least one data point and arrays of one length, got "
                f"{[len(array) for array in arrays]}"
            )
        for rows in slices(lengths.pop(), batch_size):
            yield tuple(array[rows] for array in arrays)
        return
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        raise TypeError(
            f"data: expected an array, a tuple of arrays or an iterable of batches, got "
            f"{type(data).__name__}"
        )
    for batch in data:
        yield tuple(batch) if isinstance(batch, tuple | list) else (batch,)


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and len(value.shape) > 0


def check_latents(
    latent: str, of_guide: Sequence[str], of_model: Sequence[str], observed: Sequence[str]
) -> None:
    """Raise unless the one latent of model and guide is ``latent``, and something is observed."""
    for owner, names in (("guide", of_guide), ("model", of_model)):
        if latent not in names:
            raise ValueError(
                f"latent: expected a latent site of the {owner}, got {latent!r}; it has "
                f"{', '.join(map(repr, names)) or 'none'}"
            )
        others = [name for name in names if name != latent]
        if others:
            raise ValueError(
                f"{owner}: expected no other latents than {latent!r}, got "
                f"{', '.join(map(repr, others))}; the ELBO's terms are those of one latent for "
                "each data point"
            )
    if not observed:
        raise ValueError("model: expected an observed site, got none; pass obs=... for the data")


def data_axis(site: str, latent: str, dims: Sequence[int], plate_dim: int) -> int:
    """The axis of data points in an observed site's log-density, from the right.

    Args:
        site: its name, for the message.
        latent: the latent's name, for the message.
        dims: of the plates that the site is in.
        plate_dim: of the plate that the latent is in.
    """
    if plate_dim not in dims:
        raise ValueError(
            f"model: expected the observed site {site!r} in the plate of {latent!r}, over the data "
            "points"
        )
    return plate_dim


def check_plate(latent: str, dims: Sequence[int], owner: str) -> int:
    """The dimension of the one plate that the latent is in."""
    if list(dims) != [-1]:
        raise ValueError(
            f"{owner}: expected {latent!r} in one plate, over the data points, as its last batch "
            f"dimension, got plates at {list(dims)}"
        )
    return -1
