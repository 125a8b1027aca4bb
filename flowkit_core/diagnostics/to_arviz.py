"""Draws as arviz's InferenceData."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowkit_core.diagnostics.psis import arviz


def to_arviz(
    draws: Mapping[str, ArrayLike], *, sample_stats: Mapping[str, ArrayLike] | None = None
) -> Any:
    """An `arviz.InferenceData` of draws: one chain, in the group ``posterior``.

    Args:
        draws: values (n, ...) of each parameter, as `importance_resample` and ``sample_posterior``
            return them.
        sample_stats: numbers (n,) that belong to the draws, such as log-weights; they become the
            group ``sample_stats``.

    Raises:
        ImportError: without arviz.
        ValueError: if there are no draws.

    Example:
        >>> data = to_arviz({"theta": np.zeros((100, 3))})
        >>> dict(data.posterior.sizes)
        {'chain': 1, 'draw': 100, 'theta_dim_0': 3}
    """
    if not draws:
        raise ValueError("draws: expected at least one parameter, got none")
    groups: dict[str, Any] = {"posterior": {k: np.asarray(v)[None] for k, v in draws.items()}}
    if sample_stats is not None:
        groups["sample_stats"] = {k: np.asarray(v)[None] for k, v in sample_stats.items()}
    return arviz().from_dict(**groups)
