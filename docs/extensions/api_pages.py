"""Pages of the API reference, written from the packages' ``__all__``: no name can be left out."""

import importlib
import inspect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from docstrings import escaped

WINGS = ("pyro_flowkit", "numpyro_flowkit")
# Of a wing: heading, and the modules whose names stand below it.
TOPICS = {
    "Flows": ("recipes", "transforms", "build", "round_trip"),
    "Distributions and their fits": (
        "distributions",
        "density",
        "dequantise",
        "bits",
        "statistics",
    ),
    "Guides": ("guides", "bases", "diagnostics"),
    "Priors": ("priors", "warmup"),
    "ELBO surgery": ("surgery",),
    "Files": ("checkpoint",),
}
# Modules whose names are not at the top level, and their headings.
PARTS = {
    "plots": "Pictures",
    "laws": "Parts: laws",
    "conditioners": "Parts: conditioners",
    "transforms": "Parts: transforms",
}
# Of the core, what users meet; all names of a module where none are listed.
CORE: dict[str, tuple[str, ...]] = {
    "specs": (),
    "recipes": (),
    "checkpoint": ("CheckpointError", "read_checkpoint", "write_checkpoint"),
    "diagnostics": ("GuideDiagnostics", "ParameterComparison", "diagnose_draws", "to_arviz"),
    "fitting": ("FitResult", "GuideFitResult"),
    "surgery": ("Bounds", "ElboSurgery", "Estimate", "LatentSurgery", "PriorFitResult", "compare"),
    "reports": (),
    "warmup": (),
    "plots": (),
    "diagnostic_plots": (),
    "surgery_plots": (),
    "datasets": (),
}


@dataclass(frozen=True)
class Entry:
    """A public object under the name that users import it by."""

    path: str
    value: Any

    @property
    def summary(self) -> str:
        paragraph = (inspect.getdoc(self.value) or "").split("\n\n")[0]
        return " ".join(escaped(paragraph.split("\n")))


def write_api_pages(folder: Path) -> None:
    """Write one page for each package, and one for each name in it."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"flowkit_core": dict(_of_core())} | {wing: dict(_of_wing(wing)) for wing in WINGS}
    # What a wing hands on from the core, or shows twice, has one page.
    first: dict[int, Entry] = {}
    for sections in pages.values():
        for entry in itertools.chain.from_iterable(sections.values()):
            first.setdefault(id(entry.value), entry)
    for package, sections in pages.items():
        _write(folder / f"{package}.rst", _page(package, sections, first))
    for entry in first.values():
        _write(folder / f"{entry.path}.rst", _stub(entry))
    for stale in set(folder.glob("*_*.*.rst")) - {folder / f"{e.path}.rst" for e in first.values()}:
        stale.unlink()


def _of_wing(wing: str) -> Iterator[tuple[str, list[Entry]]]:
    package = importlib.import_module(wing)
    by_topic: dict[str, list[Entry]] = {topic: [] for topic in (*TOPICS, "More")}
    for entry in _entries(package):
        by_topic[_topic(entry.value)].append(entry)
    yield from by_topic.items()
    for part, heading in PARTS.items():
        yield heading, list(_entries(importlib.import_module(f"{wing}.{part}")))


def _topic(value: Any) -> str:
    module = value.__module__.split(".")[1]
    return next((topic for topic, modules in TOPICS.items() if module in modules), "More")


def _of_core() -> Iterator[tuple[str, list[Entry]]]:
    for name, chosen in CORE.items():
        module = importlib.import_module(f"flowkit_core.{name}")
        entries = [e for e in _entries(module) if not chosen or e.path.split(".")[-1] in chosen]
        yield f"flowkit_core.{name}", entries


def _entries(module: ModuleType) -> Iterator[Entry]:
    """The public classes and functions of a module."""
    own = [
        name for name, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
    ]
    for name in getattr(module, "__all__", sorted(own)):
        value = getattr(module, name)
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)):
            yield Entry(f"{module.__name__}.{name}", value)


def _page(package: str, sections: dict[str, list[Entry]], first: dict[int, Entry]) -> list[str]:
    lines = [*_heading(f"``{package}``", "="), ".. toctree::", "   :hidden:", ""]
    own = {first[id(e.value)].path: None for es in sections.values() for e in es}
    lines += [f"   {path}" for path in own if path.startswith(package)] + [""]
    for heading, entries in sections.items():
        if entries:
            lines += [*_heading(heading, "-"), ".. list-table::", "   :widths: 30 70", ""]
            for entry in entries:
                known = first[id(entry.value)].path
                lines += [f"   * - :py:obj:`{entry.path.split('.')[-1]} <{known}>`"]
                lines += [f"     - {entry.summary}"]
            lines += [""]
    return lines


def _stub(entry: Entry) -> list[str]:
    module, _, name = entry.path.rpartition(".")
    lines = [*_heading(f"``{name}``", "="), f".. currentmodule:: {module}", ""]
    if inspect.isclass(entry.value):
        return [*lines, f".. autoclass:: {name}", "   :members:", "   :show-inheritance:"]
    return [*lines, f".. autofunction:: {name}"]


def _heading(text: str, underline: str) -> list[str]:
    return [text, underline * len(text), ""]


def _write(path: Path, lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
