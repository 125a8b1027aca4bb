"""The VampPrior: the posteriors of learnt pseudo-inputs, mixed, as prior."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpy.typing import NDArray
from numpyro.distributions import constraints

from flowkit_core import checks
from flowkit_core.fitting import check_finite_rows
from numpyro_flowkit.priors.components import check_components, mixture_of
from numpyro_flowkit.priors.registration import checked_name, concrete, registered


def vamp_prior(
    name: str,
    encoder: Callable[[Array], dist.Distribution],
    pseudo_inputs: Array | NDArray[Any],
    *,
    weights: Array | NDArray[Any] | Sequence[float] | None = None,
    learn_weights: bool = False,
    constraint: constraints.Constraint | None = None,
) -> dist.Distribution:
    """VampPrior: the guide's posterior averaged over K learnt pseudo-inputs.

    ``p(z) = sum_k w_k q(z | u_k)``, with the encoder q of the guide: an aggregated posterior of K
    points, in place of all data, which would be the prior with the best ELBO. Call it inside a
    model. It registers the pseudo-inputs as ``name$pseudo_inputs``, and learnt weights by their
    logarithms as ``name$logits``. The encoder's own weights are not registered here: model and
    guide register them under one name, which makes them the same, and gradients reach them from
    here, too.

    Shapes: pseudo-inputs (K, ...); event (D,), no batch.

    Cost: one pass of the encoder over K pseudo-inputs per call, and each point is scored under K
    components: for an encoder with an `iaf` on top, K sweeps. Mixtures of Normals draw from one
    component per point, any other from all K.

    Stability: a pseudo-input at the edge of what ``constraint`` allows could not move from there,
    so it is refused.

    Args:
        name: of the parameters; that of the latent will do.
        encoder: function of inputs (K, ...) that gives a distribution of batch shape (K,) and
            event shape (D,): Normal or not, also a `FlowDistribution`.
        pseudo_inputs: (K, ...), where they start: rows of the data, or noise near their mean. The
            parameter will be of their dtype.
        weights: (K,), positive, of any sum; equal ones by default.
        learn_weights: whether the weights are learnt, too, from there.
        constraint: of the pseudo-inputs, as for ``numpyro.param``: ``constraints.unit_interval``
            for pixels; none by default.

    Returns:
        A distribution.

    Raises:
        TypeError: for an encoder that gives no distribution, or pseudo-inputs that are not
            floating.
        ValueError: if shapes or values of the encoder's distribution, of pseudo-inputs or of
            weights are not as above; values only where they are known while JAX traces.

    References:
        Tomczak, Welling, "VAE with a VampPrior", 2018, equations 9 and 10.

    Example:
        >>> import numpyro, optax
        >>> from numpyro.infer import SVI, Trace_ELBO
        >>> images = jax.random.uniform(jax.random.key(0), (20, 6))
        >>> def registered_encoder():
        ...     weight = numpyro.param("encoder", lambda key: 0.1 * jax.random.normal(key, (6, 2)))
        ...     return lambda x: dist.Normal(x @ weight, 0.5).to_event(1)
        >>> def model(x):
        ...     decoder = numpyro.param("decoder", jnp.ones((2, 6)))
        ...     prior = vamp_prior("z", registered_encoder(), images[:4])
        ...     with numpyro.plate("data", len(x)):
        ...         z = numpyro.sample("z", prior)
        ...         numpyro.sample("x", dist.Normal(z @ decoder, 0.1).to_event(1), obs=x)
        >>> def guide(x):
        ...     encoder = registered_encoder()  # under the same name: its weights are shared
        ...     with numpyro.plate("data", len(x)):
        ...         numpyro.sample("z", encoder(x))
        >>> svi = SVI(model, guide, optax.adam(1e-3), Trace_ELBO())
        >>> state = jax.jit(svi.init)(jax.random.key(1), images)
        >>> state, loss = jax.jit(svi.update)(state, images)
        >>> sorted(svi.get_params(state))
        ['decoder', 'encoder', 'z$pseudo_inputs']
    """
    name = checked_name(name)
    if not callable(encoder) or isinstance(encoder, type | dist.Distribution):
        raise TypeError(
            "encoder: expected a function from pseudo-inputs to a distribution, got "
            f"{encoder.__name__ if isinstance(encoder, type) else type(encoder).__name__}"
        )
    learn_weights = checks.boolean("learn_weights", learn_weights)
    if constraint is not None:
        checks.instance("constraint", constraint, constraints.Constraint)
    start = _floating(pseudo_inputs)
    _check_values(concrete(pseudo_inputs), constraint)
    inputs = registered(f"{name}$pseudo_inputs", start, constraint)
    logits = _logits(weights, len(start), inputs)
    if learn_weights:
        logits = registered(f"{name}$logits", logits)
    return mixture_of(check_components(encoder(inputs), len(start)), logits)


def _floating(values: Any) -> Array:
    """Pseudo-inputs as an array of a floating dtype and at least one row."""
    is_array = isinstance(values, np.ndarray | Array)
    if not is_array or not jnp.issubdtype(values.dtype, jnp.floating):
        got = getattr(values, "dtype", type(values).__name__)
        raise TypeError(f"pseudo_inputs: expected an array of floating numbers, got {got}")
    if values.ndim == 0 or values.size == 0:
        raise ValueError(
            "pseudo_inputs: expected shape (K, ...) with at least one pseudo-input, got "
            f"{values.shape}"
        )
    return jnp.asarray(values)


def _check_values(start: NDArray[Any] | None, constraint: Any) -> None:
    if start is None:
        return
    finite = np.isfinite(start).reshape(len(start), -1).all(-1)
    check_finite_rows("pseudo_inputs", np.flatnonzero(~finite))
    if constraint is None:
        return
    with jax.ensure_compile_time_eval():
        inside = np.asarray(constraint(start))
    for bound in ("lower_bound", "upper_bound"):
        if hasattr(constraint, bound):
            inside = inside & (start != getattr(constraint, bound))
    if not inside.all():
        raise ValueError(
            f"pseudo_inputs: expected values inside of the constraint, {constraint}, got "
            f"{int((~inside).sum())} outside or at its edge, from where they could not move; move "
            "them inwards, as jnp.clip(x, 0.05, 0.95) does with pixels"
        )


def _logits(weights: Any, num_components: int, like: Array) -> Array:
    """Logarithms of weights, in the dtype of ``like``."""
    if weights is None:
        return jnp.zeros(num_components, like.dtype)
    found = jnp.asarray(weights, like.dtype)
    if found.shape != (num_components,):
        raise ValueError(
            f"weights: expected shape ({num_components},), one for each pseudo-input, got "
            f"{found.shape}"
        )
    known = concrete(weights)
    if known is not None and not (np.isfinite(known) & (known > 0)).all():
        raise ValueError("weights: expected finite numbers > 0, got others among them")
    return jnp.log(found)
