"""A posterior whose answers are known, in whatever form they came."""

from dataclasses import dataclass
from typing import Any

import numpy as np

POSTERIORDB = "posteriordb"
SYNTHETIC = "synthetic"

# How a parameter is compared: by mean and sd, by median and half the width between the quantiles
# that lie one sd from a Normal's mean (where moments converge too slowly), or by those of its log.
MOMENTS, QUANTILES, LOGS = "moments", "quantiles", "logs"


@dataclass(frozen=True)
class Problem:
    """What a guide's draws are held against.

    Args:
        name: the model's name.
        family: POSTERIORDB or SYNTHETIC.
        sites: sites of the model that, flattened and concatenated, are the parameters.
        params: their names.
        location: mean (or median) of each parameter.
        scale: sd (or half the width between the quantiles).
        compare: how each parameter is compared.
        log_evidence: log p(data).
        log_evidence_stderr: its standard error; 0 where it is exact.
        data: the model's only argument; None for a model without one.
    """

    name: str
    family: str
    sites: tuple[str, ...]
    params: tuple[str, ...]
    location: np.ndarray
    scale: np.ndarray
    compare: tuple[str, ...]
    log_evidence: float
    log_evidence_stderr: float
    data: dict[str, Any] | None = None

    @property
    def args(self):
        """The model's positional arguments."""
        return () if self.data is None else (self.data,)
