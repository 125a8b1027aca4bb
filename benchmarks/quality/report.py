"""QUALITY.md: bars, tables of each family, peers, what was missed, and where it all comes from."""

from pathlib import Path

from benchmarks.quality import synthetic
from benchmarks.quality.bars import BARS, FAMILIES, counts, missed
from benchmarks.quality.cells import OURS, cell_of
from benchmarks.quality.problem import POSTERIORDB, SYNTHETIC
from benchmarks.quality.summary import (
    decimals,
    figure,
    grouped,
    median,
    nans,
    nats,
    percent,
    words,
)
from benchmarks.tables import table

INTRODUCTION = """# Quality of guides

Written by `make quality` from `quality.json`; `python -m benchmarks.quality --report` renders it
anew.

**Method.** `fit_guide(model, AutoIAF(model), data, seed=seed)` with default settings, in a process
of its own with one thread, then `diagnose` with 10 000 draws of the guide. KL(guide to posterior)
is the log-evidence of a long reference run (or the exact one) minus the ELBO; with some hundredths
of the bar as its standard error it may come out below zero. Means and sds are those of the same
draws, over all parameters of the reference, deterministic ones included; an exact guide scores
0.01 to 0.04 there, of Monte Carlo error. ESS and k-hat are of the importance ratios. Tables show
*median / worst* of the seeds, in **bold** where the worst misses its bar; "NaN / skipped" counts
fits with a NaN in draws, ratios or ELBO, and steps left out since their gradient was not finite.
Seconds are of wall time on a shared machine, compilation included. `AutoIAF(base=...)` is the same
guide with another base than its default.
"""

CREDIT = """The posteriors, their data and their reference draws are from posteriordb,
<https://github.com/stan-dev/posteriordb> (commit 28f8d3d), BSD 3-Clause, Copyright (c) 2011-2024,
Stan Developers and their Assignees; none of its files are part of this repository. Magnusson,
Bürkner, Vehtari, *posteriordb: a set of posteriors for Bayesian inference and probabilistic
programming* (2023)."""


def write(folder, results):
    """Write QUALITY.md; returns the path."""
    path = Path(folder) / "QUALITY.md"
    path.write_text("\n".join(render(results)) + "\n")
    return path


def render(results):
    """Lines of QUALITY.md."""
    rows = sorted(results["rows"], key=_order)
    failed = [row for row in rows if "failure" in row]
    measured = [row for row in rows if "failure" not in row]
    ours = [row for row in measured if not cell_of(row).is_peer]
    peers = [row for row in measured if cell_of(row).is_peer]
    lines = [*INTRODUCTION.splitlines(), "", *_bars(ours)]
    for family, title in FAMILIES.items():
        chosen = [row for row in ours if row["family"] == family]
        if chosen:
            lines += [f"## {title}", "", *_about(family), *_table(chosen, family), ""]
    if peers:
        lines += _peers(peers, ours)
    lines += _missed([row for row in ours if row["guide"] == OURS])
    lines += _failed(failed) + _runs(results["runs"], rows)
    if any(row.get("family") == POSTERIORDB for row in rows):
        lines += ["## Credit", "", *CREDIT.splitlines()]
    return lines


def _order(row):
    return row["target"], row["guide"], row["wing"], row["dtype"], row["seed"]


def _about(family):
    if family != SYNTHETIC:
        return []
    lines = [f"- `{name}`: {text}." for name, text in synthetic.ABOUT.items()]
    return [*lines, "", "log Z is the importance-weighted log-evidence, of which 0 is right.", ""]


def _bars(ours):
    """Every bar with the fits that meet and miss it, of the default guide."""
    rows = []
    for family, title in FAMILIES.items():
        chosen = [r for r in ours if r["family"] == family and r["guide"] == OURS]
        for bar in BARS:
            met, not_met = counts(bar, chosen)
            if met + not_met:
                found = f"**{not_met}**" if not_met else 0
                rows.append([f"{title}: {bar.title}", bar.text, met, found])
    if not rows:
        return ["Nothing has been measured.", ""]
    header = ["figure", "bar", "fits that meet it", "that miss it"]
    return ["## Bars", "", f"Of {OURS} with default settings.", "", *table(header, rows), ""]


def _table(rows, family):
    header = ["target", "guide", "wing", "dtype", "seeds", "KL", "ESS %", "mean", "sd", "k-hat",
              "NaN / skipped", "steps", "stopped", "s", "verdict"]  # fmt: skip
    if family == SYNTHETIC:
        header.insert(5, "log Z error")
    lines = []
    for (target, wing, dtype, guide), group in grouped(rows).items():
        line = [
            target, guide, wing, dtype, len(group),
            f"{figure(group, 'kl', nats)} (+- {median(group, 'kl_stderr', decimals(4))})",
            figure(group, "ess", percent),
            figure(group, "mean_error", decimals(3)), figure(group, "sd_error", decimals(3)),
            figure(group, "khat", decimals(2)), nans(group),
            median(group, "num_steps", decimals(0)), words(group, "stopped"),
            median(group, "seconds", decimals(0)), words(group, "level"),
        ]  # fmt: skip
        if family == SYNTHETIC:
            error = median(group, "log_evidence_stderr", decimals(4))
            line.insert(5, f"{figure(group, 'log_evidence_error', nats)} (+- {error})")
        lines.append(line)
    return table(header, lines)


def _peers(peers, ours):
    """KL / k-hat of the frameworks' own guides, beside the median of ours."""
    guides = list(dict.fromkeys(row["guide"] for row in peers))
    groups, own, lines = grouped(peers), grouped(ours), []
    for target, wing, dtype in dict.fromkeys(key[:3] for key in groups):
        line = [target, wing, dtype]
        for guide in guides:
            group = groups.get((target, wing, dtype, guide), [])
            line.append(_kl_and_khat(group))
        lines.append([*line, _kl_and_khat(own.get((target, wing, dtype, OURS), []))])
    names = [f"{guide} (peer)" for guide in guides]
    header = ["target", "wing", "dtype", *names, f"{OURS} (ours, median)"]
    return [
        "## The frameworks' own guides", "",
        "KL / k-hat after 10 000 steps of Adam with 16 particles, its rate falling along a cosine "
        "from 1e-2 to 1e-3, from each guide's own start; one seed. A k-hat below 0.7 cannot see a "
        "mode that the guide misses, so look at both.", "",
        *table(header, lines), "",
    ]  # fmt: skip


def _kl_and_khat(group):
    if not group:
        return "-"
    return f"{median(group, 'kl', nats)} / {median(group, 'khat', decimals(2))}"


def _missed(ours):
    """Every fit of the default guide that misses a bar, one by one."""
    rows = []
    for row in ours:
        found = [f"{bar.title} {nats(bar.value(row))} (bar {bar.text})" for bar in missed(row)]
        if found:
            where = [row[key] for key in ("target", "guide", "wing", "dtype", "seed")]
            rows.append([*where, "; ".join(found)])
    if not rows:
        return []
    header = ["target", "guide", "wing", "dtype", "seed", "missed"]
    return ["## Missed", "", *table(header, rows), ""]


def _failed(rows):
    lines = [
        f"- {r['target']}, {r['guide']}, {r['wing']}, {r['dtype']}, seed {r['seed']}: "
        f"{r['failure']}" for r in rows
    ]  # fmt: skip
    return ["## Not measured", "", *lines, ""] if lines else []


def _runs(runs, rows):
    """Where the rows come from; they may have been measured at different times."""
    lines = []
    for key, run in runs.items():
        count = sum(row["run"] == key for row in rows)
        versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        lines.append(
            f"- {count} fits of at most {run['num_steps']} steps, judged by {run['num_draws']} "
            f"draws: {run['date']}, revision {run['revision']}, {run['cpu']}, "
            f"{run['cores']} cores, {run['system']}, {run['workers']} side by side, load average "
            f"{run['load'][0]} at the start; Python {run['python']}, {versions}."
        )
    return ["## Runs", "", *lines, ""] if lines else []
