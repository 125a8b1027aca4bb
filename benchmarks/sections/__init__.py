"""Sections: one module each, with ``TITLE``, ``ABOUT``, ``measure(settings)``, ``render(cells)``.

``measure`` returns cells, plain dicts of what was measured; ``render`` makes lines of markdown of
them; ``pictures(cells)``, where there is one, makes figures by file name.
"""

import importlib

SECTIONS = (
    "noise",
    "sampling",
    "sampling_gradient",
    "memory",
    "scoring",
    "realnvp",
    "linear",
    "planar",
    "sylvester",
    "image_coupling",
    "conv1x1",
    "compile",
    "growth",
    "fixed_point",
    "steps",
    "path_gradient",
    "large_fit",
    "all_pairs",
)


def section(name):
    """The module of a section."""
    return importlib.import_module(f"benchmarks.sections.{name}")
