"""Layers that take their scale and location from data: act_norm and batch_norm."""

from flowkit_core.specs import ActNormSpec, BatchNormSpec, FlowSpec


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


def batch_norm(input_dim: int, *, momentum: float = 0.1, eps: float = 1e-5) -> FlowSpec:
    """Batch normalisation as an invertible layer, between the layers of a deep flow.

    Evaluation, which is all that the flow itself does, uses running averages, so that scoring and
    sampling are each other's inverse and no point's density depends on its neighbours in a batch.
    Training uses the statistics of the batch: `fit_density` does so for its loss, your own loop by
    ``inverse_with_batch_statistics(flow, x)``. ``set_batch_statistics(flow, data)`` replaces the
    running averages by the statistics of a whole data set.

    Cost: D per point in either direction.

    Args:
        input_dim: number of coordinates D.
        momentum: share of a new batch in the running averages, above 0 and at most 1.
        eps: added to every variance that is measured.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3.7;
        Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow", 2017, and its published code.

    Example:
        >>> print(batch_norm(4))
        BatchNorm(input_dim=4)
    """
    return BatchNormSpec(input_dim, momentum, eps)
