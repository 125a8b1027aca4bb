"""Weights of the KL during warm-up."""

from typing import Any

from flowkit_core import checks


def kl_warmup(step: Any, num_steps: int, *, start: float = 0.0) -> Any:
    """Weight of the KL at a step: up in a straight line from ``start`` to 1, and 1 from then on.

    ``start + (1 - start) min(step / num_steps, 1)``, for `kl_weight`.

    Args:
        step: number of steps done, from 0; a number or an array, also one that JAX traces.
        num_steps: steps until the weight is 1.
        start: weight at the first step, from 0 to 1.

    Raises:
        TypeError: for arguments of another kind.
        ValueError: for numbers out of range.

    References:
        Bowman, Vilnis, Vinyals, Dai, Jozefowicz, Bengio, "Generating Sentences from a Continuous
        Space", 2016, section 3.1; Sonderby, Raiko, Maaloe, Sonderby, Winther, "Ladder Variational
        Autoencoders", 2016, section 2.3.

    Example:
        >>> [kl_warmup(step, 4) for step in (0, 1, 4, 100)]
        [0.0, 0.25, 1.0, 1.0]
    """
    count = checks.positive_int("num_steps", num_steps)
    first = start if start == 0 else checks.positive_float("start", start)
    if first > 1:
        raise ValueError(f"start: expected a number from 0 to 1, got {start}")
    share = step / count
    # By arithmetic, so that arrays of any library will do.
    capped = share - (share > 1) * (share - 1)
    return first + (1 - first) * capped


def check_latent_names(latents: object) -> frozenset[str] | None:
    """Return names of sites as a set; None stands for all latents."""
    if latents is None:
        return None
    names = checks.sequence("latents", latents)
    for name in names:
        checks.instance("latents", name, str)
    return frozenset(names)
