"""RESULTS.md: every figure beside its bar, then the tables and pictures of each section."""

from pathlib import Path

from benchmarks import remarks as remarks_module
from benchmarks.bars import FIGURE_TITLES, all_bars, figure_of, verdict
from benchmarks.libraries import BACKENDS
from benchmarks.sections import SECTIONS, section
from benchmarks.tables import number, spread, table

INTRODUCTION = """# Results

Written by `make bench` from `results.json`; `python -m benchmarks report` renders it anew. Words
below the bars come from `remarks.md`.

**Method.** Every library runs in a process of its own, pinned to one core before it imports
anything, with one thread. Times are CPU time of the process per call, float32, unless said
otherwise; on a shared machine wall time of identical programs was found to differ by 1.7.
Libraries take turns (A B C A B C); a round's figure is the median of enough calls to fill 50 ms,
a ratio is formed inside each round, and tables show the median of the ratios with the smallest
and the largest. Every call gets inputs that no call has seen, since some libraries cache. The
first call and JAX's compilation are kept apart. All flows have the same architecture (relu, order
reversed between layers, weights uniform in +-1/sqrt(fan_in) in every array, ours too, which would
start as the identity); `python -m benchmarks check` compares their round trips, log-determinants
and numbers of weights. "Fastest peer" is the one with the smallest median.
"""


def write(folder, results):
    """Write RESULTS.md and the pictures; returns the path."""
    folder = Path(folder)
    notes = remarks_module.read_remarks(remarks_module.PATH.read_text())
    path = folder / "RESULTS.md"
    path.write_text("\n".join(render(results, notes, _pictures(folder, results))))
    return path


def render(results, notes, pictures):
    """Lines of RESULTS.md.

    Args:
        results: section -> run and cells, as `store.load` gives them.
        notes: remarks by key.
        pictures: section -> file names.
    """
    measured = [name for name in SECTIONS if name in results]
    lines = [*INTRODUCTION.splitlines(), "", *_summary(results, measured), ""]
    for name in measured:
        module, cells = section(name), results[name]["cells"]
        lines += [f"## {module.TITLE}", "", *module.ABOUT.splitlines(), ""]
        lines += _bars(name, cells)
        for key, text in remarks_module.about(name, notes).items():
            lines += [f"*{key}*: {text}", ""]
        lines += module.render(cells)
        lines += ["", *(f"![{module.TITLE}](plots/{file})" for file in pictures.get(name, ()))]
        lines += ["", *_run(results[name]["run"]), ""]
    missing = [name for name in SECTIONS if name not in results]
    if missing:
        lines += [f"Not measured yet: {', '.join(missing)}.", ""]
    return lines


def _summary(results, measured):
    rows = []
    for name in measured:
        outcomes = [
            verdict(bar, figure_of(bar, results[name]["cells"]))
            for bar in all_bars()
            if bar.section == name
        ]
        if outcomes:
            met = outcomes.count("met")
            within = sum("within" in outcome for outcome in outcomes)
            missed = sum(outcome.startswith("missed") for outcome in outcomes)
            rest = outcomes.count("not measured")
            rows.append([section(name).TITLE, met, missed, within, rest])
    header = ["bars", "met", "missed", "of these within the spread", "not measured"]
    return ["## Bars", "", *table(header, rows)]


def _bars(name, cells):
    rows = []
    for bar in all_bars():
        found = figure_of(bar, cells) if bar.section == name else None
        if found is None:
            continue
        sign = "at least" if bar.at_least else "at most"
        shown = number(found.median) if found.low == found.high else spread(found)
        peer = found.name if bar.figure == "speedup" else ""
        note = f" ({bar.note})" if bar.note else ""
        what = f"{bar.title}: {FIGURE_TITLES[bar.figure]}"
        rows.append([what, f"{sign} {bar.value}{note}", shown, peer, verdict(bar, found)])
    if not rows:
        return []
    return [*table(["figure", "bar", "measured (spread)", "fastest peer", "verdict"], rows), ""]


def _run(run):
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    seen = run["accelerators"]
    devices = [f"{backend} sees {device}" for backend, device in seen.items()]
    absent = [backend for backend in BACKENDS if backend not in seen]
    if absent:
        devices.append(f"no CUDA device for {' and '.join(absent)}, so nothing measured there")
    before, after = (" ".join(map(str, load)) for load in (run["load"], run["load_after"]))
    return [
        f"<sub>`{run['command']}`, {run['date']}, {run['minutes']:.1f} minutes. {run['cpu']}, "
        f"{run['cores']} cores, {run['system']}; load average {before} before, {after} after. "
        f"{'; '.join(devices)}. Python {run['python']}, {versions}.</sub>"
    ]


def _pictures(folder, results):
    """Draw what the sections have to show; section -> file names."""
    drawn = {}
    for name in SECTIONS:
        module = section(name)
        if name not in results or not hasattr(module, "pictures"):
            continue
        for file, figure in module.pictures(results[name]["cells"]).items():
            (folder / "plots").mkdir(exist_ok=True)
            figure.savefig(folder / "plots" / file, dpi=110)
            drawn.setdefault(name, []).append(file)
    return drawn
