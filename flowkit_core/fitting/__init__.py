"""Fits of densities and of guides: the parts that do not depend on a framework."""

from flowkit_core.fitting.guide_loop import GuideTrainer, run_guide_fit
from flowkit_core.fitting.guide_plan import GuidePlan, Window
from flowkit_core.fitting.guide_result import GuideFitResult
from flowkit_core.fitting.guide_settings import GuideFitSettings, budget
from flowkit_core.fitting.guide_state import GuideFitState
from flowkit_core.fitting.loop import Trainer, run_fit
from flowkit_core.fitting.result import FitResult
from flowkit_core.fitting.settings import (
    FitSettings,
    check_context_given,
    check_context_rows,
    check_data_shape,
    check_finite_rows,
    check_supported_rows,
)
from flowkit_core.fitting.state import Arrays, FitState

__all__ = [
    "Arrays",
    "FitResult",
    "FitSettings",
    "FitState",
    "GuideFitResult",
    "GuideFitSettings",
    "GuideFitState",
    "GuidePlan",
    "GuideTrainer",
    "Trainer",
    "Window",
    "budget",
    "check_context_given",
    "check_context_rows",
    "check_data_shape",
    "check_finite_rows",
    "check_supported_rows",
    "run_fit",
    "run_guide_fit",
]
