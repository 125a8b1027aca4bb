"""Maximum-likelihood fits: the parts that do not depend on a framework."""

from flowkit_core.fitting.loop import Trainer, run_fit
from flowkit_core.fitting.result import FitResult
from flowkit_core.fitting.settings import (
    FitSettings,
    check_context_given,
    check_context_rows,
    check_data_shape,
    check_finite_rows,
)
from flowkit_core.fitting.state import Arrays, FitState

__all__ = [
    "Arrays",
    "FitResult",
    "FitSettings",
    "FitState",
    "Trainer",
    "check_context_given",
    "check_context_rows",
    "check_data_shape",
    "check_finite_rows",
    "run_fit",
]
