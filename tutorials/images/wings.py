"""Which module fits with which library. A job names the wing, and imports that library alone."""

import importlib

from tutorials.demo.lanes import LIBRARIES

# As the command line names it -> the library.
WINGS = {library.lower(): library for library in LIBRARIES}


def run(wing, model, digits, settings):
    """Fit and measure a model: an `Outcome`."""
    return importlib.import_module(f"tutorials.images.training_{wing}").run(model, digits, settings)
