"""Layers that take their scale and location from data: act_norm."""

from flowkit_core.specs import ActNormSpec, FlowSpec


def act_norm(input_dim: int, *, started: bool = False) -> FlowSpec:
    """Scale and shift of each coordinate that standardise the first batch: ``x = exp(s) * z + t``.

    The first batch sets s and t so that it comes out on the base side with mean 0 and standard
    deviation 1 in each coordinate; from then on they are trained like any weights. `fit_density`
    starts the layer by itself; elsewhere call ``start_from_data(flow, x)``. Scoring or sampling
    before that is an error.

    Cost: D per point in either direction.

    Args:
        input_dim: number of coordinates D.
        started: True for a layer that starts as the identity and needs no data.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Kingma, Dhariwal, "Glow", 2018, section 3.1.

    Example:
        >>> print(act_norm(4))
        ActNorm(input_dim=4, started=False)
    """
    return ActNormSpec(input_dim, started)
