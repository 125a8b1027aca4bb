"""The VampPrior: the posteriors of learnt pseudo-inputs, mixed, as prior."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Distribution, constraints

from flowkit_core import checks
from flowkit_core.fitting import check_finite_rows
from pyro_flowkit.priors.components import check_components, mixture_of
from pyro_flowkit.priors.registration import checked_name, registered
from pyro_flowkit.transforms.checks import tracing


def vamp_prior(
    name: str,
    encoder: Callable[[Tensor], Distribution],
    pseudo_inputs: Tensor | NDArray[Any],
    *,
    weights: Tensor | NDArray[Any] | Sequence[float] | None = None,
    learn_weights: bool = False,
    constraint: constraints.Constraint | None = None,
) -> TorchDistribution:
    """VampPrior: the guide's posterior averaged over K learnt pseudo-inputs.

    ``p(z) = sum_k w_k q(z | u_k)``, with the encoder q of the guide: an aggregated posterior of K
    points, in place of all data, which would be the prior with the best ELBO. Call it inside a
    model. It registers the pseudo-inputs as ``name$pseudo_inputs``, and learnt weights by their
    logarithms as ``name$logits``. The encoder's own weights are not registered here: it is the
    guide's, which registers them once, and gradients reach them from here, too.

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
        pseudo_inputs: (K, ...), where they start: rows of the data, or noise near their mean. A
            tensor, of whose dtype and device the parameter will be, or an array, which becomes a
            tensor of torch's default dtype. They are copied.
        weights: (K,), positive, of any sum; equal ones by default.
        learn_weights: whether the weights are learnt, too, from there.
        constraint: of the pseudo-inputs, as for ``pyro.param``: ``constraints.unit_interval`` for
            pixels; none by default.

    Returns:
        A distribution.

    Raises:
        TypeError: for an encoder that gives no distribution, or pseudo-inputs that are not
            floating.
        ValueError: if shapes or values of the encoder's distribution, of pseudo-inputs or of
            weights are not as above, or Pyro's store holds another prior under that name.

    References:
        Tomczak, Welling, "VAE with a VampPrior", 2018, equations 9 and 10.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> from torch import nn
        >>> pyro.clear_param_store()
        >>> class Encoder(nn.Linear):
        ...     def forward(self, x):
        ...         return dist.Normal(super().forward(x), 0.5).to_event(1)
        >>> encoder, decoder, images = Encoder(6, 2), nn.Linear(2, 6), torch.rand(20, 6)
        >>> def model(x):
        ...     pyro.module("decoder", decoder)
        ...     prior = vamp_prior("z", encoder, images[:4])
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", prior)
        ...         pyro.sample("x", dist.Normal(decoder(z), 0.1).to_event(1), obs=x)
        >>> def guide(x):
        ...     pyro.module("encoder", encoder)  # the same object: its weights are shared
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", encoder(x))
        >>> svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({}), pyro.infer.Trace_ELBO())
        >>> _ = svi.step(images)
        >>> [name for name in sorted(pyro.get_param_store()) if "decoder" not in name]
        ['encoder$$$bias', 'encoder$$$weight', 'z$pseudo_inputs']
    """
    name = checked_name(name)
    if not callable(encoder) or isinstance(encoder, type):
        raise TypeError(
            "encoder: expected a function from pseudo-inputs to a distribution, got "
            f"{encoder.__name__ if isinstance(encoder, type) else type(encoder).__name__}"
        )
    learn_weights = checks.boolean("learn_weights", learn_weights)
    if constraint is not None:
        checks.instance("constraint", constraint, constraints.Constraint)
    start = _floating(pseudo_inputs)
    own = f"{name}$pseudo_inputs"
    if own not in pyro.get_param_store():
        _check_values(start, constraint)
    inputs = registered(own, start, constraint)
    logits = _logits(weights, len(start), inputs)
    if learn_weights:
        logits = registered(f"{name}$logits", logits)
    return mixture_of(check_components(encoder(inputs), len(start)), logits)


def _floating(values: object) -> Tensor:
    """Pseudo-inputs as a tensor of a floating dtype and at least one row."""
    if isinstance(values, np.ndarray) and np.issubdtype(values.dtype, np.floating):
        values = torch.from_numpy(values).to(torch.get_default_dtype())
    if not isinstance(values, Tensor) or not values.is_floating_point():
        got = getattr(values, "dtype", type(values).__name__)
        raise TypeError(f"pseudo_inputs: expected a tensor of floating numbers, got {got}")
    if values.dim() == 0 or values.numel() == 0:
        raise ValueError(
            "pseudo_inputs: expected shape (K, ...) with at least one pseudo-input, got "
            f"{tuple(values.shape)}"
        )
    return values


def _check_values(start: Tensor, constraint: Any) -> None:
    finite = torch.isfinite(start).reshape(len(start), -1).all(-1)
    check_finite_rows("pseudo_inputs", (~finite).nonzero()[:, 0].cpu().numpy())
    if constraint is None:
        return
    inside = constraint.check(start)
    for bound in ("lower_bound", "upper_bound"):
        if hasattr(constraint, bound):
            inside = inside & (start != getattr(constraint, bound))
    if not bool(inside.all()):
        raise ValueError(
            f"pseudo_inputs: expected values inside of the constraint, {constraint}, got "
            f"{int((~inside).sum())} outside or at its edge, from where they could not move; move "
            "them inwards, as clamp(0.05, 0.95) does with pixels"
        )


def _logits(weights: Any, num_components: int, like: Tensor) -> Tensor:
    """Logarithms of weights, in the dtype of ``like`` and on its device."""
    if weights is None:
        return like.new_zeros(num_components)
    found = torch.as_tensor(weights, dtype=like.dtype, device=like.device).detach()
    if found.shape != (num_components,):
        raise ValueError(
            f"weights: expected shape ({num_components},), one for each pseudo-input, got "
            f"{tuple(found.shape)}"
        )
    if not tracing() and not bool((torch.isfinite(found) & (found > 0)).all()):
        raise ValueError("weights: expected finite numbers > 0, got others among them")
    return found.log()
