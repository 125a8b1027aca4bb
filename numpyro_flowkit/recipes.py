"""Recipes: the named flows of `flowkit_core.recipes`, as initialisers of this wing.

A recipe returns a `FlowInit`; call it with a key to get a flow.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from numpyro.distributions.transforms import Transform

from flowkit_core import recipes as core
from flowkit_core.specs import FlowSpec
from numpyro_flowkit.build import FlowInit
from numpyro_flowkit.transforms import Compose

P = ParamSpec("P")


def _recipe(
    recipe: Callable[P, FlowSpec], example: str, *, shape: str = "3"
) -> Callable[P, FlowInit]:
    """The core's recipe with this wing's return type.

    Args:
        recipe: of the core.
        example: a call for its docstring.
        shape: of a point of the example's flow.
    """

    @wraps(recipe)
    def initialiser(*args: P.args, **kwargs: P.kwargs) -> FlowInit:
        return FlowInit(recipe(*args, **kwargs))

    # Pickled by name (functools.partial(maf, ...)), so the name must lead to this module.
    initialiser.__module__ = __name__
    signature = inspect.signature(recipe).replace(return_annotation=FlowInit)
    initialiser.__signature__ = signature  # type: ignore[attr-defined]
    initialiser.__annotations__ = {**recipe.__annotations__, "return": FlowInit}
    shared = inspect.getdoc(recipe) or ""
    lines = [
        shared.partition("\nExample:")[0].rstrip(),
        "",
        "Returns:",
        "    FlowInit: call it with a key to get the flow.",
        "",
        "Example:",
        "    >>> import jax",
        f"    >>> flow = {example}(jax.random.key(0))",
        f"    >>> flow(jax.numpy.zeros((5, {shape}))).shape",
        f"    (5, {shape})",
    ]
    initialiser.__doc__ = "\n".join(lines)
    return initialiser


maf = _recipe(core.maf, "maf(3, num_layers=2, hidden_dims=(16,))")
iaf = _recipe(core.iaf, "iaf(3, num_layers=2, hidden_dims=(16,))")
realnvp = _recipe(core.realnvp, "realnvp(3, num_layers=2, hidden_dims=(16,))")
nice = _recipe(core.nice, "nice(3, num_layers=2, hidden_dims=(16,))")
lu_linear = _recipe(core.lu_linear, "lu_linear(3)")
qr_linear = _recipe(core.qr_linear, "qr_linear(3)")
diagonal_linear = _recipe(core.diagonal_linear, "diagonal_linear(3)")
triangular_linear = _recipe(core.triangular_linear, "triangular_linear(3)")
householder_linear = _recipe(core.householder_linear, "householder_linear(3, num_reflections=2)")
low_rank_linear = _recipe(core.low_rank_linear, "low_rank_linear(3, rank=1)")
logit = _recipe(core.logit, "logit(3)")
batch_norm = _recipe(core.batch_norm, "batch_norm(3)")
act_norm = _recipe(core.act_norm, "act_norm(3, started=True)")
realnvp_image = _recipe(
    core.realnvp_image, "realnvp_image((1, 4, 4), num_scales=2)", shape="1, 4, 4"
)
glow = _recipe(
    core.glow, "glow((1, 4, 4), num_scales=2, num_steps=1, started=True)", shape="1, 4, 4"
)
permute = _recipe(core.permute, "permute(3, order=(2, 0, 1))")
planar = _recipe(core.planar, "planar(3, num_layers=2)")
sylvester = _recipe(core.sylvester, "sylvester(3, num_layers=2, rank=2)")


def compose(*flows: FlowInit | Transform) -> FlowInit | Compose:
    """One flow after the other, the first one next to the base.

    Args:
        flows: recipes' results, or flows and other transforms of real vectors; not both.

    Returns:
        A FlowInit for recipes' results, a `Compose` for flows.

    Raises:
        TypeError: for a mixture of both, or for anything else.
        ValueError: if there is none, or their dimensions differ.

    Example:
        >>> import jax
        >>> init = compose(lu_linear(2), permute(2, order=(1, 0)))
        >>> init(jax.random.key(0))(jax.numpy.array([1.0, 2.0])).tolist()
        [2.0, 1.0]
    """
    specs = [flow.spec for flow in flows if isinstance(flow, FlowInit)]
    if len(specs) == len(flows):
        return FlowInit(core.compose(*specs))
    transforms = [flow for flow in flows if isinstance(flow, Transform)]
    if len(transforms) == len(flows):
        return Compose(transforms)
    kinds = sorted({type(flow).__name__ for flow in flows})
    raise TypeError(f"flows: expected all FlowInit or all transforms, got {', '.join(kinds)}")
