"""The bars: what the figures are held to, and how each figure is formed."""

from dataclasses import dataclass

from benchmarks.case import OPERATION_TITLES, PARTICLES
from benchmarks.libraries import BACKENDS, OURS
from benchmarks.sections import compile as compile_section
from benchmarks.sections import memory as memory_section
from benchmarks.sections import path_gradient as path_section
from benchmarks.sections.comparison import BACKEND_TITLES, groups
from benchmarks.statistics import Ratio, ratio, speedup, typical
from benchmarks.steps.case import DIM, HIDDEN


@dataclass(frozen=True)
class Bar:
    """One figure and its bar.

    Args:
        section: where it is measured.
        figure: "speedup", time of the fastest peer over ours; "memory", our sampling over our
            scoring; "flowjax", flowjax's compile time over ours; "seconds", ours alone; of steps
            "own_guide", the PPL's guide under its SVI over `fit_guide`, "bare", `fit_guide` over a
            bare loop, "path", the path gradient over the total one.
        backend, dim, hidden, operation: which cell.
        value: the bar.
        at_least: whether the figure should be above the bar or below it.
        note: where the bar comes from, if not from the project's own aims.
    """

    section: str
    figure: str
    backend: str
    dim: int
    hidden: int
    operation: str
    value: float
    at_least: bool = True
    note: str = ""

    @property
    def key(self):
        """Name under which `remarks.md` speaks of this bar; also its prefixes do."""
        size = f"{self.dim}x{self.hidden}" if self.hidden else str(self.dim)
        return f"{self.section}/{self.backend}/{self.operation}/{size}/{self.figure}"

    @property
    def title(self):
        """What the bar is about."""
        width = f", 2x{self.hidden}" if self.hidden else ""
        what = f"{BACKEND_TITLES[self.backend]}, {OPERATION_TITLES[self.operation]}"
        return f"{what}, D={self.dim}{width}"


FIGURE_TITLES = {
    "speedup": "fastest peer / ours",
    "memory": "memory, sampling / scoring",
    "flowjax": "flowjax / ours",
    "seconds": "seconds, ours",
    "own_guide": "AutoIAFNormal under SVI / fit_guide",
    "bare": "fit_guide / bare loop",
    "path": "path gradient / total gradient",
}

DIMS = (8, 32, 64, 128, 256)
SAMPLING = {  # D -> torch, torch with gradient, JAX, JAX with gradient
    32: (10, 12, 14, 35),
    64: (18, 28, 24, 57),
    128: (38, 56, 45, 105),
    256: (65, 90, 140, 270),
}


def all_bars():
    """Every bar, in the order of the sections."""
    return [
        *_sampling(), *_memory(), *_scoring(), *_realnvp(), *_linear(), *_residual(), *_images(),
        *_compile(), *_steps(),
        *_path_gradient(),
    ]  # fmt: skip


def _sampling():
    for section, operation, columns in (
        ("sampling", "sample", (0, 2)),
        ("sampling_gradient", "sample_grad", (1, 3)),
    ):
        for backend, column in zip(BACKENDS, columns, strict=True):
            for dim, values in SAMPLING.items():
                yield Bar(section, "speedup", backend, dim, 128, operation, values[column])
            if section == "sampling":
                value = {"torch": 63, "jax": 126}[backend]
                note = "reached by a prototype"
                yield Bar(section, "speedup", backend, 256, 512, operation, value, note=note)


def _memory():
    for backend in BACKENDS:
        for dim in DIMS:
            yield Bar("memory", "memory", backend, dim, 128, "sample_grad", 1.3, at_least=False)


def _scoring():
    for backend in BACKENDS:
        for operation in ("score", "score_grad"):
            for hidden in (128, 512):
                for dim in DIMS:
                    yield Bar("scoring", "speedup", backend, dim, hidden, operation, 1)


def _realnvp():
    for backend in BACKENDS:
        for operation in ("score", "score_grad", "sample", "sample_grad"):
            yield Bar("realnvp", "speedup", backend, 64, 128, operation, 1)


def _linear():
    for backend in BACKENDS:
        for operation in ("sample", "score", "log_det", "sample_grad", "score_grad"):
            for dim in (64, 256, 1024):
                yield Bar("linear", "speedup", backend, dim, 0, operation, 1)


def _residual():
    for section in ("planar", "sylvester"):
        for operation in ("sample", "sample_grad"):
            yield Bar(section, "speedup", "torch", 64, 0, operation, 1)


def _images():
    for section, hidden, dims in (("image_coupling", 32, (768,)), ("conv1x1", 0, (768, 3072))):
        for operation in ("score", "score_grad", "sample", "sample_grad"):
            for dim in dims:
                yield Bar(section, "speedup", "torch", dim, hidden, operation, 1)


def _compile():
    for operation in compile_section.OPERATIONS:
        for dim in DIMS:
            yield Bar("compile", "flowjax", "jax", dim, 128, operation, 1)
    yield Bar("compile", "seconds", "jax", 256, 128, "sample_grad", 5, at_least=False)


def _steps():
    yield Bar("steps", "own_guide", "torch", DIM, HIDDEN, "step_1", 2)
    yield Bar("steps", "bare", "torch", DIM, HIDDEN, "step_256", 1.4, at_least=False)
    for count in PARTICLES:
        yield Bar("steps", "bare", "jax", DIM, HIDDEN, f"step_{count}", 1.1, at_least=False)


def _path_gradient():
    for backend in BACKENDS:
        for family, count in path_section.SIZES:
            operation = f"path_{family}_{count}"
            yield Bar("path_gradient", "path", backend, DIM, HIDDEN, operation, 1.5, at_least=False)


def figure_of(bar, cells):
    """The bar's figure as a `Ratio` (a single number has no spread), or None if not measured."""
    ours = OURS[bar.backend]
    on_cpu = [cell for cell in cells if cell["backend"] == bar.backend and cell["device"] == "cpu"]
    if bar.figure == "memory":
        for (dim,), group in groups(on_cpu, "dim"):
            value = memory_section.own_ratio(group, ours) if dim == bar.dim else None
            if value is not None:
                return Ratio(value, value, value, ours)
        return None
    wanted = (bar.dim, bar.hidden, bar.operation)
    for cell in on_cpu:
        if (cell["dim"], cell["hidden"], cell["operation"]) == wanted:
            return _figure_of_cell(bar.figure, cell, ours)
    return None


def _figure_of_cell(figure, cell, ours):
    if figure == "speedup":
        return speedup(cell, ours)
    pairs = {
        "flowjax": ("flowjax", ours),
        "own_guide": ("auto_iaf_normal", "fit_guide"),
        "bare": ("fit_guide", "bare"),
        "path": ("path", "total"),
    }
    if figure in pairs:
        return ratio(cell, *pairs[figure])
    value = typical(cell, ours)
    return None if value is None else Ratio(value, value, value, ours)


def verdict(bar, found):
    """Whether the bar was met, or by how much not, and whether the spread reaches it."""
    if found is None:
        return "not measured"
    missed_by = (bar.value - found.median if bar.at_least else found.median - bar.value) / bar.value
    if missed_by <= 0:
        return "met"
    best = found.high if bar.at_least else found.low
    reaches = best >= bar.value if bar.at_least else best <= bar.value
    return f"missed by {missed_by:.1%}" + (", within the spread" if reaches else "")
