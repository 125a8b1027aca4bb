"""A picture: the density of the aggregated posterior beside that of the prior, in two projections.

The marginal KL of the digits is some tenths of a nat in all latents together, too little to see in
a thousand points, or in latents as they are. So there are many draws, smoothed, along directions in
which q(z) has most to show.
"""

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from flowkit_core.plots import finished, new_figure
from tutorials.vae.settings import VARIANTS

BINS = 60
SMOOTHED = 2.0  # bins


def draw(library, outcomes, images, path):
    """A pair of columns for each outcome, a row for each pair of directions."""
    projected = [_projected(one, images.labels[: one.train.num_data]) for one in outcomes]
    dim = projected[0][0].shape[1]
    pairs = [(i, i + 1) for i in (0, 2) if i + 1 < dim] or [(0, 0)]
    figure = new_figure(4.6 * len(outcomes), 2.4 * len(pairs) + 0.7)
    axes = figure.subplots(len(pairs), 2 * len(outcomes), squeeze=False)
    for index, (one, sides) in enumerate(zip(outcomes, projected, strict=True)):
        for row, pair in zip(axes, pairs, strict=True):
            _beside(row[2 * index : 2 * index + 2], [side[:, pair] for side in sides], pair)
        axes[0][2 * index].set_title(f"{VARIANTS[one.variant]}:\naggregated posterior", size=10)
        axes[0][2 * index + 1].set_title("\nprior", size=10)
    figure.suptitle(f"{library}: densities along directions that tell digits apart")
    finished(figure, path)


def _projected(one, labels):
    """Draws of q(z) and of p(z) along up to four directions.

    They are those of linear discriminant analysis, largest first: labels choose where to look
    from, and nothing else.
    """
    directions = np.eye(one.train.dim)
    if one.train.dim > 2:
        digits = LinearDiscriminantAnalysis(solver="eigen").fit(one.train.means, labels)
        directions = digits.scalings_[:, :4]
    return one.posterior_draws @ directions, one.prior_draws @ directions


def _beside(axes, sides, pair):
    """Two densities in one frame and with one colour scale."""
    low, high = np.quantile(np.concatenate(sides), [0.002, 0.998], axis=0)
    frame = [(low[i], high[i]) for i in (0, 1)]
    densities = [
        gaussian_filter(np.histogram2d(*side.T, BINS, frame, density=True)[0], SMOOTHED)
        for side in sides
    ]
    top = max(density.max() for density in densities)
    for one, density, colours in zip(axes, densities, ("Blues", "Oranges"), strict=True):
        one.imshow(
            density.T, origin="lower", extent=np.ravel(frame), aspect="auto", cmap=colours,
            vmin=0, vmax=top,
        )  # fmt: skip
        one.contour(
            density.T, levels=top * np.array([0.1, 0.3, 0.5, 0.7, 0.9]), extent=np.ravel(frame),
            colors="0.3", linewidths=0.5,
        )  # fmt: skip
        one.set(xticks=[], yticks=[], xlabel=f"direction {pair[0] + 1}")
    axes[0].set_ylabel(f"direction {pair[1] + 1}")
