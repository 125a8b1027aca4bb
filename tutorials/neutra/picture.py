"""The picture: the funnel as plain NUTS and as NeuTra explore it, and what NUTS sees in z."""

import numpy as np

from flowkit_core.plots import COLOURS, finished, new_figure, without_frame

# Points in a panel: enough to show a shape, few enough to tell them apart.
MAX_POINTS = 2000


def draw(runs, reference, path):
    """One row of panels for each library; returns the path.

    Args:
        runs: library -> "plain" and "NeuTra" -> `Run`.
        reference: `Run` of the non-centred model, drawn in grey behind.
        path: of the picture.
    """
    figure = new_figure(10.5, 3.5 * len(runs))
    rows = figure.subplots(len(runs), 3, squeeze=False)
    behind = _thinned(_pair(reference))
    low, high = np.quantile(behind, [0.001, 0.999], axis=0)
    margin = 0.15 * (high - low)
    for row, (library, pair) in zip(rows, runs.items(), strict=True):
        for axes, (name, run) in zip(row, pair.items(), strict=False):
            axes.scatter(*behind.T, s=3, color="0.8", linewidths=0, label="reference")
            _cloud(axes, _pair(run), run.diverging)
            axes.set(
                xlabel=r"$\theta_1$", ylabel=r"$\log\,\tau$", title=f"{library}: {name}",
                xlim=(low[0] - margin[0], high[0] + margin[0]),
                ylim=(low[1] - margin[1], high[1] + margin[1]),
            )  # fmt: skip
            axes.legend(frameon=False, fontsize=8, loc="lower left", markerscale=2)
        _warped(row[2], pair["NeuTra"], library)
        for axes in row:
            without_frame(axes)
    finished(figure, path)
    return path


def _warped(axes, run, library):
    """The same draws where NUTS made them; z 2 and z 3 are at log tau's and theta 1's places."""
    angle = np.linspace(0, 2 * np.pi, 200)
    for radius in (1, 2):
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color="0.6", linewidth=0.8)
    _cloud(axes, run.warped[..., [2, 1]].reshape(-1, 2), run.diverging)
    axes.set(
        xlabel="$z_3$", ylabel="$z_2$", xlim=(-4.5, 4.5), ylim=(-4.5, 4.5), aspect="equal",
        title=f"{library}: what NUTS sees",
    )  # fmt: skip


def _cloud(axes, points, diverging):
    diverging = diverging.ravel()
    axes.scatter(
        *_thinned(points[~diverging]).T, s=4, color=COLOURS[0], alpha=0.5, linewidths=0,
        label="draws",
    )  # fmt: skip
    if diverging.any():
        axes.scatter(
            *points[diverging].T, s=10, color=COLOURS[1], linewidths=0,
            label=f"{diverging.sum()} divergent",
        )  # fmt: skip


def _pair(run):
    """theta 1 and log tau of all draws, (n, 2)."""
    return np.stack([run.theta[..., 0].ravel(), run.log_tau.ravel()], axis=1)


def _thinned(points):
    return points[:: max(1, -(-len(points) // MAX_POINTS))]
