"""Whether to trust a guide: Pareto-smoothed importance weights of its draws, and what they say."""

from flowkit_core.diagnostics.compute import check_num_samples, diagnose_draws
from flowkit_core.diagnostics.psis import arviz, khat_threshold, smooth
from flowkit_core.diagnostics.resampling import resampled_rows
from flowkit_core.diagnostics.result import GuideDiagnostics, ParameterComparison
from flowkit_core.diagnostics.to_arviz import to_arviz

__all__ = [
    "GuideDiagnostics",
    "ParameterComparison",
    "arviz",
    "check_num_samples",
    "diagnose_draws",
    "khat_threshold",
    "resampled_rows",
    "smooth",
    "to_arviz",
]
