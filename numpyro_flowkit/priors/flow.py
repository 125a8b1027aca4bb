"""A flow as prior."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from numpyro_flowkit.bases import Base
from numpyro_flowkit.bases.choice import make_base
from numpyro_flowkit.distributions import FlowDistribution, standard_normal
from numpyro_flowkit.priors.registration import checked_name
from numpyro_flowkit.transforms import ConditionedFlow, Flow


def flow_prior(
    name: str,
    flow: Callable[[Array], Flow] | Flow,
    base: dist.Distribution | Callable[[Array], Any] | None = None,
    *,
    context: Array | None = None,
) -> FlowDistribution:
    """Prior ``z = flow(e)``, e from a base, whose weights are learnt with the model's.

    ``log p(z) = log p_base(flow^-1(z)) + log |det d flow^-1(z) / dz|``. Call it inside a model. It
    registers the flow as the parameter ``name$params``, as NumPyro does with networks, so the
    latent itself may be called ``name``.

    Shapes: event (D,); batch that of the base, broadcast with the context's.

    Cost: an ELBO scores one draw of the guide per step, which for a `maf` or a `realnvp` is one
    pass; an `iaf` is the other way round. See `FlowDistribution`.

    Args:
        name: of the parameters; that of the latent will do.
        flow: what a recipe returns, or a flow to start with.
        base: distribution of e, or a learnt one such as ``mixture_base(D)``, registered as
            ``name$base``; the standard Normal by default.
        context: (..., context_dim) for a conditional flow.

    Returns:
        FlowDistribution: `TransformReparam` splits its site into one of e and the flow.

    Raises:
        TypeError: for a flow that is none, or a base that is no distribution of vectors (D,).
        ValueError: if base or context do not fit the flow.

    References:
        Papamakarios et al., "Normalizing Flows for Probabilistic Modeling and Inference", 2021,
        section 6.3; Chen et al., "Variational Lossy Autoencoder", 2017 (flow priors of VAEs).

    Example:
        >>> import numpyro
        >>> from numpyro import handlers
        >>> from numpyro_flowkit import maf
        >>> def model(n):
        ...     with numpyro.plate("data", n):
        ...         prior = flow_prior("z", maf(3, num_layers=2, hidden_dims=(16,)))
        ...         return numpyro.sample("z", prior)
        >>> with handlers.seed(rng_seed=0):
        ...     model(5).shape
        (5, 3)
    """
    name = checked_name(name)
    registered = numpyro.param(f"{name}$params", _starting(flow))
    if not isinstance(registered, Flow):
        raise TypeError(
            "flow: expected it to lead to a Flow when called with a key, got "
            f"{type(registered).__name__}"
        )
    return FlowDistribution(registered, _base(f"{name}$base", base, registered), context=context)


def _starting(flow: Any) -> Callable[[Array], Flow]:
    # A flow is a function too, of points; NumPyro would call it with a key.
    if isinstance(flow, Flow):
        return lambda rng_key: flow
    is_other = isinstance(flow, ConditionedFlow | dist.Distribution | type)
    if is_other or not callable(flow):
        got = flow.__name__ if isinstance(flow, type) else type(flow).__name__
        raise TypeError(
            f"flow: expected what a recipe returns, such as maf(8), or a Flow, got {got}"
        )
    start: Callable[[Array], Flow] = flow
    return start


def _base(name: str, base: Any, flow: Flow) -> dist.Distribution | None:
    if base is None or isinstance(base, dist.Distribution):
        return base
    if not callable(base):
        raise TypeError(
            "base: expected a distribution, a learnt base such as mixture_base(8), or None, got "
            f"{type(base).__name__}"
        )
    init = (lambda rng_key: base) if isinstance(base, Base) else base
    like = jnp.zeros((), jnp.result_type(*jax.tree.leaves(standard_normal(flow))))

    def start(rng_key: Array) -> Any:
        return make_base(lambda dim: init, flow.input_dim, like, rng_key)

    learnt: Any = numpyro.param(name, start)
    distribution: dist.Distribution = learnt()
    return distribution
