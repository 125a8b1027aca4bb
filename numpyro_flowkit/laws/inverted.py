"""Laws with their directions exchanged."""

from dataclasses import dataclass

from jax import Array

from numpyro_flowkit.laws.base import Law, Params


@dataclass(frozen=True)
class Inverted(Law):
    """A law with its two directions exchanged.

    With it the MAF, whose parameters are functions of the data, is an IAF of the inverted law.

    Args:
        law: the law to invert.
    """

    law: Law

    @property
    def num_conditioned(self) -> int:
        """As the law's."""
        return self.law.num_conditioned

    @property
    def num_free(self) -> int:
        """As the law's."""
        return self.law.num_free

    def forward(self, z: Array, params: Params) -> tuple[Array, Array]:
        """The law's inverse."""
        return self.law.inverse(z, params)

    def inverse(self, x: Array, params: Params) -> tuple[Array, Array]:
        """The law's forward map."""
        return self.law.forward(x, params)
