"""Latents that every row of a plate has of its own: which they are, and how a row packs them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flowkit_core.model_problems import ModelError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LocalSite:
    """One latent of a row.

    Attributes:
        name: of the site.
        inner: sizes of the dimensions to the right of the plate's (plates inside of it).
        event: shape of the event, unconstrained.
    """

    name: str
    inner: Shape
    event: Shape

    @property
    def size(self) -> int:
        """How many numbers of a row it takes."""
        return math.prod(self.inner + self.event)


@dataclass(frozen=True)
class LocalLatents:
    """The latents inside of one plate, packed row by row.

    Attributes:
        plate: name of the plate.
        full_size: how many rows it has.
        dim: its dimension, counted from the right: -1 is the last.
        sites: in the order in which they are packed.

    Example:
        >>> sites = (LocalSite("scale", (), ()), LocalSite("z", (), (2,)))
        >>> LocalLatents("data", 100, -1, sites).size
        3
    """

    plate: str
    full_size: int
    dim: int
    sites: tuple[LocalSite, ...]

    @property
    def size(self) -> int:
        """Numbers that a row takes."""
        return sum(site.size for site in self.sites)

    @property
    def row_batch(self) -> Shape:
        """The dimensions between the plate's and a packed row: one of size 1 for each inner one."""
        return (1,) * (-self.dim - 1)

    def slices(self) -> Iterator[tuple[LocalSite, slice]]:
        """Each site, and where a packed row holds it."""
        start = 0
        for site in self.sites:
            yield site, slice(start, start + site.size)
            start += site.size

    def shape_of(self, site: LocalSite, packed: Sequence[int]) -> Shape:
        """Shape of a site's unconstrained values, given that of the packed rows."""
        rows = tuple(packed[: len(packed) - len(self.row_batch) - 1])
        return rows + site.inner + site.event


def rows_of(local: LocalLatents, count: int, drawn: int) -> int:
    """How many rows a plate draws, when an encoder is given data of ``count`` rows.

    Args:
        local: the plate and its latents.
        count: rows of data: all of the plate's, or those of a minibatch.
        drawn: rows that the model draws of all of them.

    Raises:
        ModelError: if there are no rows, or more than the plate has.

    Example:
        >>> local = LocalLatents("data", 100, -1, ())
        >>> rows_of(local, 100, 10), rows_of(local, 20, 10)
        (10, 20)
    """
    if not 0 < count <= local.full_size:
        raise ModelError(
            f"inputs: expected data of the {local.full_size} rows of plate {local.plate!r}, or of "
            f"some of them, got {count} rows"
        )
    return drawn if count == local.full_size else count


def only_plate(wanted: str | None, holding: Mapping[str, Sequence[str]]) -> str:
    """The plate whose latents are local.

    Args:
        wanted: its name, or None for the only one that holds latents.
        holding: names of the plates around each latent site.

    Raises:
        ModelError: if there is none, or there are several to choose from.

    Example:
        >>> only_plate(None, {"mu": [], "z": ["data"]})
        'data'
    """
    plates = sorted({plate for around in holding.values() for plate in around})
    if wanted is not None and wanted in plates:
        return wanted
    told = ", ".join(map(repr, plates)) or "none"
    if wanted is not None:
        raise ModelError(
            f"plate: no latent lies in a plate {wanted!r}; plates with latents: {told}"
        )
    if not plates:
        raise ModelError(
            f"no latent of the model ({', '.join(map(repr, holding)) or 'it has none'}) lies in a "
            "plate, so nothing is local: use AutoFlow or one of the guides made of it"
        )
    if len(plates) > 1:
        raise ModelError(f"plate: name the plate whose latents are local, one of {told}")
    return plates[0]


@dataclass(frozen=True)
class LatentShape:
    """A latent of a model, as far as plates are concerned.

    Attributes:
        plates: dimension, from the right, of each plate around it.
        batch: batch shape of its distribution.
        event: shape of its event, unconstrained.
    """

    plates: Mapping[str, int]
    batch: Shape
    event: Shape


def local_latents(
    shapes: Mapping[str, LatentShape], full_sizes: Mapping[str, int], wanted: str | None
) -> LocalLatents:
    """The latents inside of a plate.

    Args:
        shapes: of all latents of a model.
        full_sizes: how many rows each plate has.
        wanted: name of the plate, or None for the only one that holds latents.

    Raises:
        ModelError: if there is no such plate, several, or one inside of another.
    """
    plate = only_plate(wanted, {name: list(shape.plates) for name, shape in shapes.items()})
    inside = {name: shape for name, shape in shapes.items() if plate in shape.plates}
    dim = next(iter(inside.values())).plates[plate]
    sites = tuple(
        local_site(name, dim, shape.batch, shape.event, plate) for name, shape in inside.items()
    )
    return LocalLatents(plate, full_sizes[plate], dim, sites)


def local_site(name: str, dim: int, batch: Shape, event: Shape, plate: str) -> LocalSite:
    """A latent of a row, from the shapes of its distribution.

    Args:
        name: of the site.
        dim: the plate's dimension, from the right.
        batch: batch shape of the site's distribution.
        event: shape of its event, unconstrained.
        plate: name of the plate.

    Raises:
        ModelError: if another plate is around the plate.
    """
    if len(batch) > -dim:
        raise ModelError(
            f"site {name!r}: plate {plate!r} lies inside of another one (batch shape {batch}, and "
            f"the plate is dimension {dim}); name the outer plate, or flatten the two into one"
        )
    return LocalSite(name, tuple(batch[dim + 1 :]) if dim < -1 else (), tuple(event))
