"""Coupling layers: RealNVP's and NICE's building block."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowkit_core import checks
from flowkit_core.specs import CouplingSpec
from pyro_flowkit.laws import Law, Params
from pyro_flowkit.transforms.base import Flow


class Coupling(Flow):
    """``x_A = z_A``, ``x_B = tau(z_B; parameters(z_A, context))``; A is where the mask is True.

    Cost: one network pass in either direction, both exact; log-determinant a sum over B.

    Args:
        mask: True where a coordinate passes through. All False is allowed (the law depends on the
            context alone), all True is not.
        conditioner: `MLP`, or any module from (..., len(A)) and a context to
            (..., num_conditioned * len(B)), parameter by parameter.
        law: the map of one coordinate.
        context_dim: length of the context the conditioner takes.
        free: start values (num_free, len(B)) of the law's free parameters; zeros by default.
        spec: the architecture as data; leave it out for a conditioner or law of your own.

    References:
        Dinh et al., "Density estimation using Real NVP", 2017, equations 7-9.
    """

    def __init__(
        self,
        mask: Sequence[bool],
        conditioner: nn.Module,
        law: Law,
        *,
        context_dim: int = 0,
        free: Tensor | None = None,
        spec: CouplingSpec | None = None,
    ) -> None:
        mask = checks.boolean_mask("mask", mask)
        if all(mask):
            raise ValueError(f"mask: expected at least one False entry, got all {len(mask)} True")
        super().__init__(len(mask), context_dim=context_dim, spec=spec)
        self.conditioner = conditioner
        self.law = law
        passed = [i for i, m in enumerate(mask) if m]
        mapped = [i for i, m in enumerate(mask) if not m]
        back = sorted(range(len(mask)), key=(passed + mapped).__getitem__)
        self._num_mapped = len(mapped)
        for name, indices in (("_passed", passed), ("_mapped", mapped), ("_back", back)):
            self.register_buffer(name, torch.tensor(indices, dtype=torch.long), persistent=False)
        self.free: nn.Parameter | None = None
        if law.num_free:
            start = torch.zeros(law.num_free, len(mapped)) if free is None else free
            self.free = nn.Parameter(start.clone())

    def _split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return values.index_select(-1, self._passed), values.index_select(-1, self._mapped)

    def _join(self, passed: Tensor, mapped: Tensor) -> Tensor:
        return torch.cat([passed, mapped], -1).index_select(-1, self._back)

    def _params(self, passed: Tensor, context: Tensor | None) -> Params:
        raw: Tensor = self.conditioner(passed, context)
        params = raw.unflatten(-1, (self.law.num_conditioned, self._num_mapped)).unbind(-2)
        return params if self.free is None else (*params, *self.free.unbind(0))

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        passed, mapped = self._split(z)
        mapped, log_slope = self.law.forward(mapped, self._params(passed, context))
        return self._join(passed, mapped), log_slope.sum(-1)

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        passed, mapped = self._split(x)
        mapped, log_slope = self.law.inverse(mapped, self._params(passed, context))
        return self._join(passed, mapped), log_slope.sum(-1)

    def _forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, log_det = self._forward_and_log_det(z, context)
        passed, mapped = self._split(z.detach())
        score_a, score_b = self._split(score)

        def coupled(passed: Tensor, mapped: Tensor) -> tuple[Tensor, Tensor]:
            return self.law.forward(mapped, self._params(passed, context))

        # v_B = (u_B - d log_det / d z_B) / slope; v_A = u_A - VJP of (x_B, log_det) along z_A.
        (new, log_slope), pull = torch.func.vjp(coupled, passed, mapped)
        ones = torch.ones_like(log_slope)
        _, from_log_det = pull((torch.zeros_like(new), ones))
        pushed_b = (score_b - from_log_det) * torch.exp(-log_slope)
        along_a, _ = pull((pushed_b, ones))
        return x, log_det, self._join(score_a - along_a, pushed_b)
