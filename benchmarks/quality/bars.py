"""What a fit has to reach."""

from dataclasses import dataclass

from benchmarks.quality.problem import POSTERIORDB, SYNTHETIC


@dataclass(frozen=True)
class Bar:
    """A bound on one figure of a cell.

    Args:
        figure: key of the row.
        title: for tables.
        bound: what it is held against.
        at_least: the figure is to lie above the bound instead of below.
        target: the only target that it applies to.
        percent: shown in per cent.
    """

    figure: str
    title: str
    bound: float
    at_least: bool = False
    target: str | None = None
    percent: bool = False

    def applies(self, row):
        """Whether a row has such a figure and is held to the bar."""
        return self.figure in row and self.target in (None, row["target"])

    def is_met(self, row):
        """Whether the figure is within the bound; NaN is not."""
        value = self.value(row)
        return value > self.bound if self.at_least else value < self.bound

    def value(self, row):
        """The figure, as it is compared: log-evidence by the size of its error."""
        value = float(row[self.figure])
        return abs(value) if self.figure == "log_evidence_error" else value

    @property
    def text(self):
        """The bound in words."""
        if self.figure == "nan":
            return "none"
        bound = f"{100 * self.bound:g} %" if self.percent else f"{self.bound:g}"
        return f"{'>' if self.at_least else '<'} {bound}"


BARS = (
    Bar("kl", "KL(guide to posterior), nats", 0.02),
    Bar("ess", "importance ESS", 0.9, at_least=True, percent=True),
    Bar("mean_error", "largest mean error / sd", 0.06),
    Bar("sd_error", "largest |sd ratio - 1|", 0.06),
    Bar("khat", "k-hat", 0.7),
    Bar("nan", "NaN in draws, ratios or ELBO", 0.5),  # a flag
    Bar("log_evidence_error", "|log Z error|, funnel_10", 0.01, target="funnel_10"),
)
FAMILIES = {POSTERIORDB: "Posteriors of posteriordb", SYNTHETIC: "Targets with exact answers"}


def counts(bar, rows):
    """How many of the rows meet the bar, and how many miss it."""
    outcomes = [bar.is_met(row) for row in rows if bar.applies(row)]
    return outcomes.count(True), outcomes.count(False)


def missed(row):
    """The bars that a row misses."""
    return [bar for bar in BARS if bar.applies(row) and not bar.is_met(row)]
