"""Which latents have free bits, and how many."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from flowkit_core import checks
from flowkit_core.warmup import check_latent_names

# Groups of coordinates that have their free bits together.
GROUPS = ("site", "dim")


@dataclass(frozen=True)
class FreeBits:
    """Arguments of `FreeBitsELBO` of either wing.

    Args:
        minimum: nats of a group that cost nothing.
        latents: names of the sites; None for all latents.
        per: "site" or "dim".

    Raises:
        TypeError: for arguments of another type.
        ValueError: for no positive number, or another group.

    Example:
        >>> FreeBits(0.5, ["z"], "dim").sites(["z", "w"], ["w", "z"])
        ['z']
    """

    minimum: float
    latents: Sequence[str] | None
    per: str
    _names: frozenset[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        checks.positive_float("minimum", self.minimum)
        checks.choice("per", self.per, GROUPS)
        object.__setattr__(self, "_names", check_latent_names(self.latents))

    def sites(self, of_guide: Sequence[str], of_model: Sequence[str]) -> list[str]:
        """Those of the latents of guide and model that it is for.

        Raises:
            ValueError: if one of the names is not among them.
        """
        shared = [name for name in of_guide if name in of_model]
        if self._names is None:
            return shared
        missing = sorted(self._names.difference(shared))
        if missing:
            raise ValueError(
                f"latents: expected latent sites of model and guide, got {missing[0]!r}; they "
                f"share {', '.join(map(repr, shared)) or 'none'}"
            )
        return [name for name in shared if name in self._names]


def check_drawn_here(name: str, is_point_mass: bool) -> None:
    """Raise if the guide's site is a point mass, which has no KL."""
    if is_point_mass:
        raise TypeError(
            f"guide: expected {name!r} to be drawn from a density at its own site, got a point "
            "mass (Delta); what is drawn at another site has its KL there"
        )


def check_coordinates(name: str, owner: str, got: str, event_shape: Sequence[int]) -> None:
    """Raise unless a site's distribution is one of single numbers."""
    if len(event_shape):
        raise TypeError(
            f"{owner}: expected independent coordinates at {name!r}, such as those of "
            f'Normal(loc, scale).to_event(1), for per="dim", got {got}; use per="site"'
        )
