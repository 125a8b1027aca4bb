"""The named flows. Arguments are documented in `flowkit_core.recipes`, once for both wings."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

from torch.distributions.transforms import Transform

from flowkit_core import recipes
from flowkit_core.specs import FlowSpec
from pyro_flowkit.build import build
from pyro_flowkit.transforms import Compose, Flow

P = ParamSpec("P")

_EXAMPLE = """Returns:
        A `Flow`, a `pyro.distributions.TransformModule`. It starts as the identity.

    Example:
        >>> import torch
        >>> flow = {call}
        >>> x, log_det = flow.forward_and_log_det(torch.ones(4, {shape}))
        >>> x.shape, log_det.shape
        (torch.Size([4, {shape}]), torch.Size([4]))
    """


def _native(make_spec: Callable[P, FlowSpec], call: str, *, shape: str = "3") -> Callable[P, Flow]:
    """The recipe of the same name and signature that returns a flow instead of a spec."""

    @functools.wraps(make_spec)
    def recipe(*args: P.args, **kwargs: P.kwargs) -> Flow:
        seed: Any = kwargs.get("seed", 0)
        return build(make_spec(*args, **kwargs), seed=seed)

    recipe.__module__ = __name__  # so that it pickles, also inside functools.partial
    described = (make_spec.__doc__ or "").partition("Example:")[0]
    recipe.__doc__ = described + _EXAMPLE.format(call=call, shape=shape)
    return recipe


maf = _native(recipes.maf, "maf(3, num_layers=2, hidden_dims=(16,))")
iaf = _native(recipes.iaf, "iaf(3, num_layers=2, hidden_dims=(16,))")
realnvp = _native(recipes.realnvp, "realnvp(3, num_layers=2, hidden_dims=(16,))")
nice = _native(recipes.nice, "nice(3, num_layers=2, hidden_dims=(16,))")
lu_linear = _native(recipes.lu_linear, "lu_linear(3)")
qr_linear = _native(recipes.qr_linear, "qr_linear(3)")
diagonal_linear = _native(recipes.diagonal_linear, "diagonal_linear(3)")
triangular_linear = _native(recipes.triangular_linear, "triangular_linear(3)")
householder_linear = _native(recipes.householder_linear, "householder_linear(3, num_reflections=2)")
low_rank_linear = _native(recipes.low_rank_linear, "low_rank_linear(3, rank=1)")
logit = _native(recipes.logit, "logit(3)")
batch_norm = _native(recipes.batch_norm, "batch_norm(3)")
act_norm = _native(recipes.act_norm, "act_norm(3, started=True)")
realnvp_image = _native(
    recipes.realnvp_image, "realnvp_image((1, 4, 4), num_scales=2)", shape="1, 4, 4"
)
glow = _native(
    recipes.glow, "glow((1, 4, 4), num_scales=2, num_steps=1, started=True)", shape="1, 4, 4"
)
permute = _native(recipes.permute, "permute(3, order=(2, 0, 1))")
planar = _native(recipes.planar, "planar(3, num_layers=2)")
sylvester = _native(recipes.sylvester, "sylvester(3, num_layers=2, rank=2)")


def compose(*flows: Transform) -> Compose:
    """One flow after the other, the first one next to the base.

    Args:
        flows: flows of equal input_dim; transforms of other packages may stand between them, but
            then the composition has no spec and cannot be saved by `save_flow`.

    Raises:
        ValueError: if there is no flow, or dimensions differ.
        TypeError: for something that is no transform.

    Example:
        >>> flow = compose(lu_linear(3), maf(3, num_layers=1, hidden_dims=(8,)))
        >>> flow.input_dim, flow.sequential_forward
        (3, True)
    """
    return Compose(flows)
