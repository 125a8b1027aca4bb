"""Batch normalisation as an invertible layer."""

import torch
from torch import Tensor

from flowkit_core.specs import BatchNormSpec
from pyro_flowkit.transforms.base import Flow
from pyro_flowkit.transforms.linear import Linear


class BatchNorm(Linear):
    """``x = mean + exp(log_variance / 2) * (exp(log_scale) * z + shift)``.

    Evaluation, which is all that a flow itself does: mean and log_variance are constants, the
    running averages of what training has seen. Scoring and sampling are each other's exact inverse,
    the density of a point does not depend on the other points of its batch, and neither
    ``flow.train()`` nor ``flow.eval()`` changes anything.

    Training, by `inverse_with_batch_statistics` alone, which `fit_density` uses for its loss: the
    batch itself is normalised by its own mean and variance (gradients go through both), which then
    enter the running averages. `set_batch_statistics` replaces these by the statistics of a whole
    data set, with which MAF's authors evaluate.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: D per point in either direction, exact;
    ``log |det| = sum(log_scale + log_variance / 2)``.

    Stability: ``eps`` is added to every variance measured, so a constant coordinate is scaled by
    ``sqrt(eps)``, not by 0.

    Args:
        spec: ``BatchNormSpec(input_dim, momentum=0.1, eps=1e-5)``.
        arrays: log_scale and shift, which are trained; mean and log_variance, which are measured.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3.7;
        Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow", 2017, and its published code.

    Example:
        >>> from pyro_flowkit import batch_norm, set_batch_statistics
        >>> flow = set_batch_statistics(batch_norm(1), torch.tensor([[3.0], [7.0]]))
        >>> [round(z, 3) for z in flow.inv(torch.tensor([3.0, 5.0, 7.0])[:, None])[:, 0].tolist()]
        [-1.0, 0.0, 1.0]
    """

    spec: BatchNormSpec
    mean: Tensor
    log_variance: Tensor

    @property
    def takes_statistics(self) -> bool:
        """True."""
        return True

    def _weight(self, name: str) -> Tensor:
        weight = super()._weight(name)
        return weight.detach() if name in self.spec.MEASURED else weight

    def _log_diagonal(self) -> Tensor:
        return self._weight("log_scale") + self._weight("log_variance") / 2

    def _offset(self) -> Tensor:
        deviation = torch.exp(self._weight("log_variance") / 2)
        return torch.addcmul(self._weight("mean"), deviation, self._weight("shift"))

    def _multiply(self, z: Tensor) -> Tensor:
        return z * torch.exp(self._log_diagonal())

    def _solve(self, x: Tensor) -> Tensor:
        return x * torch.exp(-self._log_diagonal())

    def _solve_transposed(self, score: Tensor) -> Tensor:
        return score * torch.exp(-self._log_diagonal())

    def _observe(
        self, x: Tensor, context: Tensor | None, *, replace: bool
    ) -> tuple[Flow, Tensor, Tensor]:
        rows = x.reshape(-1, x.shape[-1])
        self.spec.check_rows(len(rows))
        mean = rows.mean(0)
        variance = (rows - mean).square().mean(0) + self.spec.eps
        self._average(mean.detach(), variance.detach(), 1.0 if replace else self.spec.momentum)
        log_scale = self._weight("log_scale")
        z = ((x - mean) * torch.rsqrt(variance) - self._weight("shift")) * torch.exp(-log_scale)
        log_det = -(log_scale + torch.log(variance) / 2).sum()
        return self, z, log_det.expand(x.shape[:-1])

    @torch.no_grad()
    def _average(self, mean: Tensor, variance: Tensor, share: float) -> None:
        """Let statistics enter the running averages, unless they are not finite."""
        usable = torch.isfinite(mean).all() & torch.isfinite(variance).all()
        averages = {
            "mean": torch.lerp(self.mean, mean, share),
            "log_variance": torch.lerp(self.log_variance.exp(), variance, share).log(),
        }
        for name, new in averages.items():
            old = getattr(self, name)
            old.copy_(torch.where(usable, new, old))
