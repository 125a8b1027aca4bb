"""A flow as prior."""

from torch import Tensor, nn
from torch.distributions import Distribution

from pyro_flowkit.bases.choice import make_base
from pyro_flowkit.distributions import FlowDistribution, standard_normal
from pyro_flowkit.priors.registration import checked_name, registered_module
from pyro_flowkit.transforms import Flow


def flow_prior(
    name: str,
    flow: Flow,
    base: Distribution | nn.Module | None = None,
    *,
    context: Tensor | None = None,
) -> FlowDistribution:
    """Prior ``z = flow(e)``, e from a base, whose weights are learnt with the model's.

    ``log p(z) = log p_base(flow^-1(z)) + log |det d flow^-1(z) / dz|``. Call it inside a model. It
    registers the flow as ``pyro.module(name, flow)``, so the weights are ``name$$$...`` in Pyro's
    store; what a loaded store has under these names is taken over.

    Shapes: event (D,); batch that of the base, broadcast with the context's.

    Cost: an ELBO scores one draw of the guide per step, which for a `maf` or a `realnvp` is one
    pass; an `iaf` is the other way round. See `FlowDistribution`.

    Args:
        name: of the parameters; that of the latent will do.
        flow: the flow, made outside of the model.
        base: distribution of e, or a learnt one such as ``mixture_base(D)``, made outside of the
            model and registered as ``name$base``; the standard Normal by default.
        context: (..., context_dim) for a conditional flow.

    Returns:
        FlowDistribution: `TransformReparam` splits its site into one of e and the flow.

    Raises:
        TypeError: for a flow that is none, or a base that is no distribution of vectors (D,).
        ValueError: if base or context do not fit the flow, or Pyro's store holds another prior
            under that name.

    References:
        Papamakarios et al., "Normalizing Flows for Probabilistic Modeling and Inference", 2021,
        section 6.3; Chen et al., "Variational Lossy Autoencoder", 2017 (flow priors of VAEs).

    Example:
        >>> import pyro, torch
        >>> from pyro_flowkit import maf
        >>> flow = maf(3, num_layers=2, hidden_dims=(16,))
        >>> def model(n):
        ...     with pyro.plate("data", n):
        ...         return pyro.sample("z", flow_prior("z", flow))
        >>> model(5).shape
        torch.Size([5, 3])
    """
    name = checked_name(name)
    if not isinstance(flow, Flow):
        raise TypeError(
            f"flow: expected a Flow, such as maf(8) made outside of the model, got "
            f"{type(flow).__name__}"
        )
    flow = registered_module(name, flow)
    return FlowDistribution(flow, _base(f"{name}$base", base, flow), context=context)


def _base(name: str, base: Distribution | nn.Module | None, flow: Flow) -> Distribution | None:
    if base is None or isinstance(base, Distribution):
        return base
    if not isinstance(base, nn.Module):
        raise TypeError(
            "base: expected a distribution, a learnt base such as mixture_base(8), or None, got "
            f"{type(base).__name__}"
        )
    chosen = base
    made = make_base(lambda dim: chosen, flow.input_dim, standard_normal(flow).mean)
    distribution: Distribution = registered_module(name, made or base)()
    return distribution
