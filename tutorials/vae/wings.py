"""Which module trains with which library. A job names the wing, and imports that library alone."""

import importlib

from tutorials.demo.lanes import LIBRARIES

# As the command line names it -> the library.
WINGS = {library.lower(): library for library in LIBRARIES}


def run(wing, variant, images, settings):
    """Train and measure a variant: an `Outcome`."""
    return importlib.import_module(f"tutorials.vae.measure_{wing}").run(variant, images, settings)
