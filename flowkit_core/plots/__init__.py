"""Pictures: fits, flows of the plane, posteriors beside a reference, densities beside data, costs.

Each function returns a matplotlib figure made without pyplot, so no global state is touched, and
writes it to ``path`` if there is one. Colours are told apart by colour-blind readers, and curves
and bars in black and white, too. Pictures of a diagnosis and of ELBO surgery stand
in `flowkit_core.diagnostic_plots` and `flowkit_core.surgery_plots`.
"""

from flowkit_core.plots.beside_data import samples_beside_data
from flowkit_core.plots.curves import elbo_curve, loss_curves
from flowkit_core.plots.density import density_with_samples
from flowkit_core.plots.grid import warped_grid
from flowkit_core.plots.growth import growth_curves, growth_exponent
from flowkit_core.plots.marginals import marginal_histograms
from flowkit_core.plots.pairs import corner
from flowkit_core.plots.style import (
    COLOURS,
    HATCHES,
    LINES,
    MARKERS,
    finished,
    new_figure,
    without_frame,
)

__all__ = [
    "COLOURS",
    "HATCHES",
    "LINES",
    "MARKERS",
    "corner",
    "density_with_samples",
    "elbo_curve",
    "finished",
    "growth_curves",
    "growth_exponent",
    "loss_curves",
    "marginal_histograms",
    "new_figure",
    "samples_beside_data",
    "warped_grid",
    "without_frame",
]
