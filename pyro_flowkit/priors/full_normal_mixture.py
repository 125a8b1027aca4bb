"""Mixture of Normals with full covariance, drawn from the components that were chosen."""

import math

import torch
from torch import Tensor
from torch.distributions import Categorical, constraints

from pyro_flowkit.bases.mixture_of_normals import MixtureOfNormals, check_logits, chosen

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class FullNormalMixture(MixtureOfNormals):
    """``p(z) = sum_k w_k N(z; m_k, L_k L_k^T)``, with ``w = softmax(logits)``.

    Shapes: locs (..., K, D), scale_trils (..., K, D, D), logits (..., K); event (D,), batch (...).

    Cost: O(K D^3) once and O(K D^2) per point scored, as K matrix products; O(D^2) per draw. (The
    mixture of Pyro's `MultivariateNormal` draws from all K components to keep one.)

    Args:
        locs: means m.
        scale_trils: lower triangular factors L of the covariances, with a positive diagonal.
        logits: log-weights, up to a constant.
        validate_args: as for every Pyro distribution.

    Raises:
        ValueError: if the shapes do not fit each other.

    Example:
        >>> mixture = FullNormalMixture(
        ...     torch.zeros(2, 3), torch.eye(3).expand(2, 3, 3), torch.zeros(2)
        ... )
        >>> mixture.sample((5,)).shape, mixture.variance
        (torch.Size([5, 3]), tensor([1., 1., 1.]))
    """

    arg_constraints = {
        "locs": constraints.independent(constraints.real, 2),
        "scale_trils": constraints.independent(constraints.lower_cholesky, 1),
        "logits": constraints.real_vector,
    }
    has_rsample = False

    def __init__(
        self,
        locs: Tensor,
        scale_trils: Tensor,
        logits: Tensor,
        *,
        validate_args: bool | None = None,
    ) -> None:
        if locs.dim() < 2 or scale_trils.shape[-3:] != (*locs.shape[-2:], locs.shape[-1]):
            raise ValueError(
                "locs and scale_trils: expected shapes (..., K, D) and (..., K, D, D), got "
                f"{tuple(locs.shape)} and {tuple(scale_trils.shape)}"
            )
        check_logits(locs, logits)
        batch = torch.broadcast_shapes(locs.shape[:-2], scale_trils.shape[:-3], logits.shape[:-1])
        self._set(batch, locs, scale_trils, logits)
        super().__init__(batch, locs.shape[-1:], validate_args=validate_args)

    def _set(self, batch: torch.Size, locs: Tensor, scale_trils: Tensor, logits: Tensor) -> None:
        # Means and factors are left as they are: a product with expanded ones would copy them.
        self.locs, self.scale_trils = locs, scale_trils
        self.logits = logits.expand(batch + logits.shape[-1:])

    @property
    def _spread(self) -> Tensor:
        return self.scale_trils

    def _within(self) -> Tensor:
        return self.scale_trils.square().sum(-1)

    def _each(self, value: Tensor) -> Tensor:
        identity = torch.eye(self.event_shape[0], dtype=self.locs.dtype, device=self.locs.device)
        # One small inverse for each component, whatever the number of points.
        inverse = torch.linalg.solve_triangular(self.scale_trils, identity, upper=False)
        e = torch.einsum("...kij,...kj->...ki", inverse, value.unsqueeze(-2) - self.locs)
        diagonal = self.scale_trils.diagonal(dim1=-2, dim2=-1)
        return -0.5 * e.square().sum(-1) - (diagonal.log() + _LOG_SQRT_2PI).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws of shape ``sample_shape + batch + (D,)``, without a gradient."""
        sizes = torch.Size(sample_shape)
        which = Categorical(logits=self.logits, validate_args=False).sample(sizes)
        shape = self._extended_shape(sizes)
        noise = torch.randn(shape, dtype=self.locs.dtype, device=self.locs.device)
        factors = chosen(self.scale_trils, which, 2)
        return chosen(self.locs, which, 1) + (factors @ noise.unsqueeze(-1)).squeeze(-1)
