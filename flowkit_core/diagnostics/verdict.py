"""What the numbers of a diagnosis mean, in words."""

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from flowkit_core.diagnostics.result import GuideDiagnostics

Level = Literal["good", "usable after importance weighting", "do not trust"]

# Fewer effective draws leave a mean uncertain by more than a seventh of the posterior's sd.
MIN_ESS = 50
# What a guide may differ by from the weighted draws and still be used as it is: means in units of
# the sd, sds by this ratio (log).
MAX_SHIFT = 0.1
MAX_LOG_SD_RATIO = 0.1
# A shift of one latent by its whole sd costs half a nat.
MAX_GAP = 0.5
MIN_ESS_FRACTION = 0.5
# From here on the weights are so nearly equal that khat only tells the shape of a tail in which
# there is nothing to speak of: for guides within 0.001 nats of the posterior it comes out between
# 0.1 and 1.5, at random.
EQUAL_WEIGHTS = 0.98

_BLIND_SPOT = "a mode that the guide never draws from would not show in this"


def judge(found: "GuideDiagnostics") -> tuple[Level, str]:
    """The level of trust and the sentence that gives its reason."""
    broken = _what_is_broken(found)
    if broken:
        return "do not trust", f"do not trust: {broken}"
    numbers = f"ESS {100 * found.ess_fraction:.0f} %, gap {found.gap:z.2f} nats"
    if found.khat <= found.khat_threshold:
        numbers = f"khat {found.khat:z.2f} <= {found.khat_threshold:.2f}, {numbers}"
    else:
        numbers += (
            f", khat {found.khat:z.2f} > {found.khat_threshold:.2f} of a tail that carries next to "
            "nothing"
        )
    off = _what_is_off(found)
    if off:
        return (
            "usable after importance weighting",
            f"usable after importance weighting: {numbers}, but {off}: use the smoothed means or "
            f"importance_resample, not the guide's own draws; {_BLIND_SPOT}",
        )
    return "good", f"good: {numbers}, means and sds as weighted ones; {_BLIND_SPOT}"


def _what_is_broken(found: "GuideDiagnostics") -> str:
    if found.num_invalid:
        return (
            f"the importance ratio of {found.num_invalid} of {found.num_samples} draws is NaN or "
            "infinite; the other numbers are of the remaining draws"
        )
    if found.ess == 0:
        return "the model has no density at any draw of the guide"
    if not (found.khat <= found.khat_threshold or found.ess_fraction >= EQUAL_WEIGHTS):
        return (
            f"khat {found.khat:z.2f} > {found.khat_threshold:.2f}, few draws carry the weight: the "
            "guide is too narrow, or not where the posterior is, and importance weighting cannot "
            "mend it"
        )
    if found.ess < MIN_ESS:
        return (
            f"{found.ess:.0f} effective draws of {found.num_samples} are too few, less than "
            f"{MIN_ESS}; a larger num_samples may help"
        )
    return ""


def _what_is_off(found: "GuideDiagnostics") -> str:
    off = []
    if found.ess_fraction < MIN_ESS_FRACTION:
        off.append("the weights are uneven")
    if found.num_zero_density:
        off.append(f"at {found.num_zero_density} draws the model has no density")
    elif not found.gap <= MAX_GAP:
        off.append("the ELBO is far below the evidence")
    if found.parameters:
        shifted = max(found.parameters, key=lambda p: _size(p.difference))
        if _size(shifted.difference) > MAX_SHIFT:
            off.append(f"the mean of {shifted.name} is off by {abs(shifted.difference):.2f} sd")
        spread = max(found.parameters, key=lambda p: _size(p.log_sd_ratio))
        if _size(spread.log_sd_ratio) > MAX_LOG_SD_RATIO:
            ratio = math.exp(spread.log_sd_ratio)
            off.append(f"the sd of {spread.name} is {ratio:.2f} times what it should be")
    return " and ".join(off)


def _size(value: float) -> float:
    """Absolute value; NaN, of draws that are not finite, is larger than every number."""
    return math.inf if math.isnan(value) else abs(value)
