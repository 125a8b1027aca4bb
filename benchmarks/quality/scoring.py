"""Figures of a fitted guide: how far its draws and its ELBO are from the known answers."""

import math

import numpy as np

from benchmarks.quality.problem import LOGS, QUANTILES

# Quantiles one sd below and above the mean of a Normal.
_BELOW, _ABOVE = 0.15865525393145705, 0.8413447460685429


def score(diagnosis, draws, problem):
    """Everything that is known of a guide from its draws.

    Args:
        diagnosis: a `GuideDiagnostics`.
        draws: site -> values (n, ...), of all of the problem's sites; None to leave them out.
        problem: the answers.
    """
    figures = {
        "kl": problem.log_evidence - diagnosis.elbo,
        "kl_stderr": math.hypot(diagnosis.elbo_stderr, problem.log_evidence_stderr),
        "log_evidence_error": diagnosis.log_evidence - problem.log_evidence,
        "log_evidence_stderr": math.hypot(
            diagnosis.log_evidence_stderr, problem.log_evidence_stderr
        ),
        "ess": diagnosis.ess_fraction,
        "khat": diagnosis.khat,
        "level": diagnosis.level,
    }
    has_nan = bool(np.isnan(diagnosis.log_ratios).any() or math.isnan(diagnosis.elbo))
    if draws is not None:
        values = flattened(draws, problem.sites)
        has_nan = has_nan or bool(np.isnan(values).any())
        figures["mean_error"], figures["sd_error"] = errors(values, problem)
    return {**figures, "nan": has_nan}


def flattened(draws, sites):
    """The parameters, (n, P): each site's values in C order, one site after the other."""
    parts = [np.asarray(draws[site], np.float64) for site in sites]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def errors(values, problem):
    """Largest ``|location - reference| / scale`` and ``|scale / reference - 1|``.

    Args:
        values: draws of the parameters, (n, P).
        problem: the answers.
    """
    if values.shape[1] != len(problem.params):
        raise ValueError(
            f"{problem.name}: sites {', '.join(problem.sites)} hold {values.shape[1]} numbers, and "
            f"there are {len(problem.params)} params"
        )
    found = [_summary(column, how) for column, how in zip(values.T, problem.compare, strict=True)]
    location, scale = np.array(found).T
    off = np.abs(location - problem.location) / problem.scale
    wide = np.abs(scale / problem.scale - 1)
    return float(off.max()), float(wide.max())


def _summary(column, how):
    """Location and scale of one parameter's draws."""
    if how == QUANTILES:
        below, middle, above = np.quantile(column, [_BELOW, 0.5, _ABOVE])
        return middle, (above - below) / 2
    if how == LOGS:
        column = np.log(column)
    return column.mean(), column.std(ddof=1)
