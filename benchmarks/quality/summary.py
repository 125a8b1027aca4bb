"""From rows to the cells of tables: median and worst of the seeds, marked where a bar is missed."""

from collections import Counter

import numpy as np

from benchmarks.quality.bars import BARS

_BARS = {bar.figure: bar for bar in BARS}


def grouped(rows):
    """(target, wing, dtype, guide) -> rows of its seeds, in order."""
    groups = {}
    for row in rows:
        key = (row["target"], row["wing"], row["dtype"], row["guide"])
        groups.setdefault(key, []).append(row)
    return groups


def figure(rows, key, show):
    """Median and worst of the seeds; bold where the worst misses its bar.

    Args:
        rows: of one group.
        key: the figure.
        show: from a number to text.
    """
    bar = _BARS[key]
    values = [bar.value(row) for row in rows if key in row]
    if not values:
        return "-"
    # Of NaN, neither a median nor an order is to be had; it is the worst there is.
    numbers = [value for value in values if not np.isnan(value)]
    if len(numbers) < len(values):
        worst = float("nan")
    else:
        worst = min(values) if bar.at_least else max(values)
    middle = float(np.median(numbers)) if numbers else float("nan")
    text = f"{show(middle)} / {show(worst)}"
    applies = any(bar.applies(row) for row in rows)
    met = worst > bar.bound if bar.at_least else worst < bar.bound
    return text if met or not applies else f"**{text}**"


def median(rows, key, show):
    """Median of a figure that has no bar."""
    values = [float(row[key]) for row in rows if key in row]
    return show(float(np.median(values))) if values else "-"


def words(rows, key):
    """What was said, with counts where it was not always the same."""
    found = Counter(str(row[key]) for row in rows if key in row)
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{word} {count}" for word, count in found.most_common())


def nans(rows):
    """How many seeds met a NaN, and how many steps were left out for not being finite."""
    count = sum(bool(row.get("nan")) for row in rows)
    skipped = sum(row.get("skipped_steps", 0) for row in rows)
    text = f"{count} / {skipped}"
    return f"**{text}**" if count else text


def decimals(digits):
    """A function from a number to text with so many decimals."""
    return lambda value: f"{value:z.{digits}f}"


def percent(value):
    """A fraction in per cent."""
    return f"{100 * value:.1f}"


def nats(value):
    """Four decimals of a small difference, and three digits of a large one."""
    return f"{value:z.4f}" if abs(value) < 1 else f"{value:.3g}"
