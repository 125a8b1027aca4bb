"""Coupling layers: some coordinates pass through and yield the law of the others."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions.transforms import Transform

from flowkit_core import checks
from flowkit_core.masks import invert_order
from flowkit_core.specs import CouplingSpec
from pyro_flowkit.laws import Additive, Affine, Centred, Law, Params
from pyro_flowkit.transforms.coupling_layer import CouplingLayer
from pyro_flowkit.transforms.law_params import law_params


class Coupling(CouplingLayer):
    """``x_A = z_A``, ``x_B = law(z_B; parameters of z_A)`` with any boolean mask.

    Shapes: z and x (..., D), context (..., context_dim), log-determinants (...). The conditioner
    maps (..., |A|) to (..., num_conditioned * |B|), parameter by parameter.

    Args:
        mask: True where a coordinate passes through (A). All False is allowed: the law then
            depends on the context alone.
        conditioner: an `MLP`, or any module that maps z_A (and a context) to raw parameters.
        law: the map of one coordinate.
        context_dim: length of the context the conditioner takes.
        free: start values (num_free, |B|) of the law's free parameters; zeros by default.
        volume_preserving: centre the log-scales of an affine law, so that they sum to zero: the
            log-determinant is 0. Of a single moved coordinate only the shift is left.
        spec: the architecture as data; leave it out for a conditioner or law of your own.

    Cost: one network pass in either direction; the inverse is exact.

    Stability: scales are softly bounded by the law.

    Raises:
        ValueError: for a mask that is all True, which would leave nothing to transform, or a law
            that cannot preserve volume if it has to.
        TypeError: for a mask that is not boolean.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, equations 7 and 8;
        path-gradient rule: Vaitl et al., "Fast and unified path gradient estimators", 2024.

    Example:
        >>> from flowkit_core.specs import MLPSpec
        >>> from pyro_flowkit.conditioners import MLP
        >>> from pyro_flowkit.laws import Additive
        >>> spec = MLPSpec(
        ...     hidden_dims=(8,), activation="relu", context_dim=0, num_inputs=1, num_outputs=2
        ... )
        >>> net = MLP.init(spec, torch.Generator().manual_seed(0))
        >>> flow = Coupling((False, True, False), net, Additive())
        >>> flow(torch.tensor([1.0, 2.0, 3.0])).tolist()
        [1.0, 2.0, 3.0]
    """

    _kept: Tensor
    _moved: Tensor
    _back: Tensor

    def __init__(
        self,
        mask: Sequence[bool],
        conditioner: nn.Module,
        law: Law,
        *,
        context_dim: int = 0,
        free: Tensor | None = None,
        volume_preserving: bool = False,
        spec: CouplingSpec | None = None,
    ) -> None:
        mask = checks.boolean_mask("mask", mask)
        if all(mask):
            raise ValueError(
                "mask: expected at least one False entry (a coordinate to transform), "
                f"got all {len(mask)} True"
            )
        super().__init__(
            (len(mask),),
            len(mask) - sum(mask),
            conditioner,
            _centred(law) if volume_preserving else law,
            context_dim=context_dim,
            free=free,
            spec=spec,
        )
        self.mask = mask
        self.volume_preserving = checks.boolean("volume_preserving", volume_preserving)
        kept = [i for i, keep in enumerate(mask) if keep]
        moved = [i for i, keep in enumerate(mask) if not keep]
        back = invert_order([*kept, *moved])
        for name, indices in (("_kept", kept), ("_moved", moved), ("_back", back)):
            self.register_buffer(name, torch.tensor(indices, dtype=torch.long), persistent=False)

    def split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The coordinates that pass through, and the others."""
        return values.index_select(-1, self._kept), values.index_select(-1, self._moved)

    def merge(self, kept: Tensor, moved: Tensor) -> Tensor:
        """Undo `split`."""
        return torch.cat([kept, moved], -1).index_select(-1, self._back)

    def _params(self, kept: Tensor, context: Tensor | None) -> Params:
        raw = self.conditioner(kept, context)
        return law_params(self.law, raw, self.free, self._num_laws)

    def _log_det(self, log_slope: Tensor) -> Tensor:
        if self.volume_preserving:  # exactly, where a sum would leave rounding
            return log_slope.new_zeros(log_slope.shape[:-1])
        return super()._log_det(log_slope)


def _centred(law: Law) -> Law:
    """A law that preserves volume."""
    if isinstance(law, Additive):
        return law
    if isinstance(law, Affine):
        return Centred(law)
    raise ValueError(
        "volume_preserving: expected an Affine or Additive law, whose log-scales are the same at "
        f"every point, got {type(law).__name__}"
    )


def couple(
    layers: Sequence[Coupling], values: Tensor, context: Tensor | None, *, forward: bool
) -> tuple[Tensor, Tensor]:
    """Apply couplings one after the other, the two halves kept apart until the last.

    Args:
        layers: in the order of application; each `fits` the first.
        values: (..., D).
        context: (..., context_dim), or None.
        forward: base to data, or data to base.
    """
    first = layers[0]
    halves = dict(zip((True, False), first.split(values), strict=True))
    total = values.new_zeros(values.shape[:-1])
    for layer in layers:
        kept = layer.mask == first.mask
        given = context if layer.context_dim else None
        halves[not kept], log_det = layer.move(
            halves[kept], halves[not kept], given, forward=forward
        )
        total = total + log_det
    return first.merge(halves[True], halves[False]), total


def couple_scores(
    layers: Sequence[Coupling], z: Tensor, score: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The same from base to data, with a score pushed along, where a graph is recorded.

    Args:
        layers: in the order of application; each `fits` the first.
        z: (..., D).
        score: (..., D).
        context: (..., context_dim), or None.
    """
    first = layers[0]
    halves = dict(zip((True, False), first.split(z), strict=True))
    scores = dict(zip((True, False), first.split(score), strict=True))
    total = z.new_zeros(z.shape[:-1])
    for layer in layers:
        kept = layer.mask == first.mask
        given = context if layer.context_dim else None
        new, log_det, (scores[kept], scores[not kept]) = layer.move_score(
            (halves[kept], halves[not kept]), (scores[kept], scores[not kept]), given
        )
        halves[not kept] = new
        total = total + log_det
    pushed = first.merge(scores[True], scores[False])
    return first.merge(halves[True], halves[False]), total, pushed


def fits(first: Transform, other: Transform) -> bool:
    """Whether both are couplings of one mask, or of two that exchange the roles of the halves."""
    if type(first) is not Coupling or type(other) is not Coupling:
        return False
    return other.mask in (first.mask, tuple(not keep for keep in first.mask))
