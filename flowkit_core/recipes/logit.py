"""Logits of data in an interval: logit."""

from flowkit_core.specs import FlowSpec, LogitSpec


def logit(input_dim: int, *, alpha: float = 0.05) -> FlowSpec:
    """Data in [0, 1] from real numbers: ``x = (sigmoid(z) - alpha) / (1 - 2 alpha)``.

    Last in a composition, next to the data, it lets a flow of real vectors model pixels: the data
    side goes through ``z = logit(alpha + (1 - 2 alpha) x)``, finite at 0 and 1, with its
    log-determinant. There is nothing to train, and it is the one flow that is not the identity
    when built. `dequantise` makes such data of integer levels, `bits_per_dim` bits of the result.

    Cost: D per point in either direction.

    Args:
        input_dim: number of coordinates D.
        alpha: 0 < alpha < 0.5; 0.05 for natural images, 1e-6 for MNIST in the papers cited.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 4.1;
        Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow", 2017.

    Example:
        >>> print(logit(4))
        Logit(input_dim=4, alpha=0.05)
    """
    return LogitSpec(input_dim, alpha)
