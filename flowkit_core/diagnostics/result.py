"""The diagnosis of a guide."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from flowkit_core.diagnostics.psis import Floats
from flowkit_core.diagnostics.to_arviz import to_arviz
from flowkit_core.diagnostics.verdict import Level, judge

# Parameters that the printed table shows: those whose means differ most.
_ROWS = 10


@dataclass(frozen=True)
class ParameterComparison:
    """Mean and sd of one number of the model, by the guide's draws and by the weighted draws.

    Args:
        name: e.g. "theta[1]".
        raw_mean: mean of the draws as they are.
        smoothed_mean: mean under the smoothed importance weights; NaN if all are zero.
        raw_sd: standard deviation of the draws as they are.
        smoothed_sd: under the smoothed importance weights.
    """

    name: str
    raw_mean: float
    smoothed_mean: float
    raw_sd: float
    smoothed_sd: float

    @property
    def difference(self) -> float:
        """``(smoothed_mean - raw_mean) / raw_sd``; zero for a constant."""
        shift = self.smoothed_mean - self.raw_mean
        if self.raw_sd == 0:
            return 0.0 if shift == 0 else math.copysign(math.inf, shift)
        return shift / self.raw_sd

    @property
    def log_sd_ratio(self) -> float:
        """``log(raw_sd / smoothed_sd)``, below zero for a guide that is too narrow."""
        if self.raw_sd == self.smoothed_sd:
            return 0.0
        if self.smoothed_sd == 0:
            return math.inf
        ratio = self.raw_sd / self.smoothed_sd
        return math.log(ratio) if ratio > 0 else -math.inf if ratio == 0 else math.nan


@dataclass(frozen=True)
class GuideDiagnostics:
    """How well a guide q fits the posterior p, judged by importance weights of draws of q.

    Levels: "good", the guide's draws may stand for the posterior; "usable after importance
    weighting", the weights make up for what the guide lacks (``smoothed_mean``,
    `importance_resample`); "do not trust". None of these numbers sees a mode of the posterior that
    the guide never draws from. Made by `diagnose`; ``print`` shows a table.

    Args:
        elbo: ``mean log r`` of the importance ratios r, nats.
        elbo_stderr: its standard error.
        log_evidence: ``log mean s`` of the smoothed ratios s, an estimate of log p(data), nats.
        log_evidence_stderr: its standard error (delta method), to be believed only of a small khat.
        khat: Pareto index of the tail of r; -inf if there is none, as for an exact guide.
        khat_threshold: the khat up to which smoothed weights are reliable.
        ess: importance effective sample size, ``1 / sum w^2`` of the normalised weights w.
        num_samples: number of draws.
        num_zero_density: draws at which the model has no density: a weight of zero.
        num_invalid: draws whose ratio is NaN or +inf; the other numbers leave them out.
        parameters: raw and weighted moments of every number of the model.
        log_ratios: log r, (n,).
        log_weights: log of the normalised smoothed weights w, (n,); -inf for none.
        draws: draws of the guide (n, ...) in the model's own coordinates.

    References:
        Yao, Vehtari, Simpson, Gelman, "Yes, but Did It Work?: Evaluating Variational Inference",
        2018; Vehtari, Simpson, Gelman, Yao, Gabry, "Pareto Smoothed Importance Sampling", 2024.

    Example:
        >>> import numpy as np
        >>> from flowkit_core.diagnostics import diagnose_draws
        >>> x = np.random.default_rng(0).normal(size=1000)
        >>> result = diagnose_draws(0.1 * x, {"x": x})  # the posterior is N(0.1, 1)
        >>> result.trusted, round(result.parameters[0].difference, 2)
        (True, 0.1)
    """

    elbo: float
    elbo_stderr: float
    log_evidence: float
    log_evidence_stderr: float
    khat: float
    khat_threshold: float
    ess: float
    num_samples: int
    num_zero_density: int
    num_invalid: int
    parameters: tuple[ParameterComparison, ...] = field(repr=False)
    log_ratios: Floats = field(repr=False, compare=False)
    log_weights: Floats = field(repr=False, compare=False)
    draws: Mapping[str, NDArray[Any]] = field(repr=False, compare=False)

    @property
    def ess_fraction(self) -> float:
        """The effective sample size as a fraction of the number of draws."""
        return self.ess / self.num_samples

    @property
    def gap(self) -> float:
        """``log_evidence - elbo``, an estimate of KL(q || p) in nats."""
        return self.log_evidence - self.elbo

    @property
    def num_nonfinite(self) -> int:
        """Draws whose importance ratio is not finite, zeros included."""
        return self.num_zero_density + self.num_invalid

    @property
    def level(self) -> Level:
        """One of "good", "usable after importance weighting" and "do not trust"."""
        return judge(self)[0]

    @property
    def verdict(self) -> str:
        """The level and its reason, in one line."""
        return judge(self)[1]

    @property
    def trusted(self) -> bool:
        """Whether the posterior can be had from this guide, weighted if not as it is."""
        return self.level != "do not trust"

    def to_dict(self) -> dict[str, Any]:
        """Numbers and words, without the arrays: what fits into JSON (but for infinite numbers)."""
        names = ("elbo", "elbo_stderr", "log_evidence", "log_evidence_stderr", "gap", "khat",
                 "khat_threshold", "ess", "ess_fraction", "num_samples", "num_zero_density",
                 "num_invalid", "level", "trusted", "verdict")  # fmt: skip
        return {name: getattr(self, name) for name in names} | {
            "parameters": [{**vars(p), "difference": p.difference} for p in self.parameters]
        }

    def to_arviz(self) -> Any:
        """An `arviz.InferenceData` of the guide's own draws, unweighted.

        Group ``sample_stats`` has ``log_weight`` (normalised, smoothed) and ``log_ratio``. For
        draws of the posterior itself, see `importance_resample`.
        """
        stats = {"log_weight": self.log_weights, "log_ratio": self.log_ratios}
        return to_arviz(self.draws, sample_stats=stats)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Picture of the tail of the weights, and of how far they move the means.

        Args:
            path: also write the picture there.

        Raises:
            ImportError: without matplotlib.
        """
        from flowkit_core.diagnostic_plots import weights_and_means  # it needs this class

        return weights_and_means(self, path=path)

    def __str__(self) -> str:
        no_tail = "; the largest weights are equal" if self.khat == -math.inf else ""
        lines = [
            f"ELBO          {self.elbo:z.3f} +- {self.elbo_stderr:.3f} nats",
            f"log evidence  {self.log_evidence:z.3f} +- {self.log_evidence_stderr:.3f} nats",
            f"gap           {self.gap:z.3f} nats, about KL(guide || posterior)",
            f"khat          {self.khat:z.2f} (threshold {self.khat_threshold:.2f}{no_tail})",
            f"ESS           {self.ess:.0f} of {self.num_samples} draws "
            f"({100 * self.ess_fraction:.0f} %)",
        ]
        if self.num_nonfinite:
            lines.append(
                f"not finite    {self.num_zero_density} draws without density, "
                f"{self.num_invalid} NaN or infinite"
            )
        return "\n".join([*lines, *self._table(), self.verdict])

    def _table(self) -> list[str]:
        if not self.parameters:
            return []
        ranked = sorted(self.parameters, key=lambda p: -abs(p.difference))[:_ROWS]
        width = max(len("parameter"), *(len(p.name) for p in ranked))
        heads = ("mean", "weighted", "sd", "weighted", "shift/sd")
        lines = ["", f"{'parameter':{width}}" + "".join(f"{head:>11}" for head in heads)]
        lines += [
            f"{p.name:{width}}{p.raw_mean:11.4g}{p.smoothed_mean:11.4g}"
            f"{p.raw_sd:11.4g}{p.smoothed_sd:11.4g}{p.difference:z11.2f}"
            for p in ranked
        ]
        left = len(self.parameters) - len(ranked)
        return [*lines, *([f"and {left} more, whose means move less"] if left else []), ""]
