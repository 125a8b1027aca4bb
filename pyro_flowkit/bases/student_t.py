"""Bases with tails: independent Student-t distributions."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from flowkit_core.bases import MAX_DF, MIN_DF, StudentTBaseSpec
from pyro_flowkit.bases.base import Base


def student_t_base(input_dim: int, *, df: float = 30.0) -> "StudentTBase":
    """Base of D independent Student-t variables, whose degrees of freedom are learnt.

    ``z_i ~ t(df_i)``, ``1 / df_i = 1 / 200 + (1 - 1 / 200) sigmoid(free_i)``, so 1 < df_i < 200.
    A flow whose scales are bounded cannot make tails heavier than its base's; this base has them.
    It starts near the Normal, since light tails train more smoothly.

    Shapes: event (D,); parameter free (D,).

    Stability: of a target with Normal tails an ELBO is finite only for df > 2; at df <= 2 draws
    have no variance. Log-densities, in nats, are finite for every finite z.

    Args:
        input_dim: number of coordinates D.
        df: degrees of freedom at the start, between 1 and 200.

    Raises:
        ValueError, TypeError: for arguments out of range.

    References:
        Jaini et al., "Tails of Lipschitz Triangular Flows", 2020, theorem 4; Figurnov et al.,
        "Implicit Reparameterization Gradients", 2018 (draws differentiable by df).

    Example:
        >>> base = student_t_base(3)
        >>> base().log_prob(torch.zeros(5, 3)).shape, base.df.round().tolist()
        (torch.Size([5]), [30.0, 30.0, 30.0])
    """
    return StudentTBase(StudentTBaseSpec(input_dim, df))


class StudentTBase(Base):
    """What `student_t_base` returns."""

    free: nn.Parameter

    @property
    def df(self) -> Tensor:
        """Degrees of freedom (D,)."""
        lowest, highest = 1 / MAX_DF, 1 / MIN_DF
        return 1 / (lowest + (highest - lowest) * torch.sigmoid(self.free))

    def forward(self) -> Distribution:
        """The distribution as it is now; its draws are differentiable by ``free``."""
        # The degrees of freedom lie between their bounds by construction.
        return StudentT(self.df, validate_args=False).to_event(1)


class StudentT(dist.StudentT):
    """Student-t distribution whose log-density is finite wherever its argument is."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats."""
        if self._validate_args:
            self._validate_sample(value)
        df: Any = self.df
        u = (value - self.loc) / (self.scale * df.sqrt())
        normaliser = (
            self.scale.log()
            + 0.5 * (df * torch.pi).log()
            + torch.lgamma(0.5 * df)
            - torch.lgamma(0.5 * (df + 1))
        )
        return -0.5 * (df + 1) * log1p_square(u) - normaliser


def log1p_square(u: Tensor) -> Tensor:
    """``log(1 + u^2)``, also where u^2 overflows."""
    small = u.abs() < 1
    # Each branch gets an argument at which its value and its gradient are finite.
    inside = torch.where(small, u, 0.0)
    outside = torch.where(small, 1.0, u.abs())
    large = 2 * outside.log() + outside.reciprocal().square().log1p()
    return torch.where(small, inside.square().log1p(), large)
