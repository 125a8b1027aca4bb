"""The table: what NUTS costs and what it yields, before and after."""

import numpy as np

SHOWN = ("mu", "log tau", "theta 1")


def introduce(reference) -> None:
    """Say what follows, and print the head of the table and the reference's row."""
    print("== NeuTra: NUTS on the centred eight schools, before and after a flow ==")
    print("Means have their Monte Carlo standard errors. Those of an exact run lie within two or")
    print(
        "three errors of the reference. A run that has not been everywhere does not know, either,"
    )
    print("how large its errors are.\n")
    print(_line("", "", "", "diver-", "leapfrogs", "min", "per 1000", "per", "fit,", SHOWN))
    means = ["mean (error)"] * len(SHOWN)
    heads = ("draws", "gences", "per draw", "ESS", "leapfrogs", "second", "s")
    print(_line("library", "NUTS", *heads, means))
    print(_row("NumPyro", "reference", reference), flush=True)


def report(library, runs) -> None:
    """Print the rows of a library."""
    for name, run in runs.items():
        print(_row(library, name, run), flush=True)


def conclude(runs) -> None:
    """Say in words what the figures are worth."""
    print()
    for library, pair in runs.items():
        plain, neutra = (
            min(run.effective.values()) / np.array((run.leapfrogs, run.seconds))
            for run in (pair["plain"], pair["NeuTra"])
        )
        steps, seconds = neutra / plain
        cost = 1 / plain[1] - 1 / neutra[1]  # seconds that an effective draw costs more
        print(
            f"{library}: NeuTra has {steps:.1f} times as many effective draws per leapfrog step, "
            f"{seconds:.1f} times per second."
        )
        if cost > 0:
            fit = pair["NeuTra"].fit_seconds
            print(f"  The fit, {fit:.0f} s, has paid for itself after {fit / cost:.0f} of them.")
        else:
            print("  A gradient of this model costs so little that the fit saves no time; what it")
            print("  buys are draws that can be trusted.")


def _row(library, name, run) -> str:
    worst, count = min(run.effective.values()), run.diverging.size
    means = [f"{mean:.2f} ({error:.2f})" for mean, error in map(run.mean_and_error, SHOWN)]
    return _line(
        library,
        name,
        count,
        run.diverging.sum(),
        f"{run.leapfrogs / count:.1f}",
        f"{worst:.0f}",
        f"{1000 * worst / run.leapfrogs:.1f}",
        f"{worst / run.seconds:.3g}",
        f"{run.fit_seconds:.0f}" if run.fit_seconds else "-",
        means,
    )


def _line(library, name, draws, diverging, leapfrogs, worst, per_leapfrog, per_second, fit, means):
    """One line of the table: its cells in columns."""
    cells = f"{library:8}{name:10}{draws:>7}{diverging:>8}{leapfrogs:>11}{worst:>7}"
    cells += f"{per_leapfrog:>11}{per_second:>9}{fit:>6}"
    return cells + "".join(f"{mean:>16}" for mean in means)
