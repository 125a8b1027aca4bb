"""Pictures: what they show, and that they touch nothing but their file."""

import io
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib.colors
import numpy as np
import PIL.Image
import pytest
from matplotlib.figure import Figure

from flowkit_core import plots

ROOT = Path(__file__).parents[2]
NAN = float("nan")


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_an_empty_figure_has_the_size_asked_for():
    figure = plots.new_figure(3, 2.5)
    assert isinstance(figure, Figure)
    assert figure.get_size_inches().tolist() == [3, 2.5]
    assert figure.axes == []


def test_a_notebook_shows_a_figure_as_it_is():
    figure = plots.new_figure(3, 2.5)
    picture = PIL.Image.open(io.BytesIO(figure._repr_png_()))
    assert picture.size == tuple(figure.bbox.size.astype(int))
    again = pickle.loads(pickle.dumps(figure))
    assert again._repr_png_()[:4] == b"\x89PNG"


def test_loss_curves_show_both_losses_and_the_epoch_kept():
    figure = plots.loss_curves([3.0, 2.0, 1.0], [3.5, 2.5, 2.7], best_epoch=1)
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    train, validation, kept = axes.lines
    assert train.get_xydata().tolist() == [[1, 3.0], [2, 2.0], [3, 1.0]]
    assert validation.get_xydata().tolist() == [[1, 3.5], [2, 2.5], [3, 2.7]]
    assert list(kept.get_xdata()) == [2, 2]
    assert labels(axes) == ["training", "validation", "kept: epoch 2"]
    assert axes.get_xlabel() == "epoch"
    assert axes.get_ylabel() == "negative log-likelihood\n(nats per row)"


def test_loss_curves_without_validation():
    (axes,) = plots.loss_curves([3.0, 2.0], [], best_epoch=1).axes
    assert labels(axes) == ["training", "kept: epoch 2"]


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ([1.0], [2.0]),
        ([1.0], []),
        ([NAN], [NAN]),
        ([NAN] * 9, []),
        ([1.0, NAN, 2.0, float("inf"), 3.0, 2.0], [NAN, 1.0, 2.0, -float("inf"), 3.0, 2.0]),
        ([1.0] * 9, [1.0] * 9),
        ([], []),
    ],
    ids=["one", "one alone", "nan", "all nan", "some not finite", "constant", "nothing"],
)
def test_loss_curves_survive(train, validation, tmp_path):
    plots.loss_curves(train, validation, best_epoch=0, path=tmp_path / "losses.png")
    assert is_png(tmp_path / "losses.png")


def test_the_first_epochs_do_not_flatten_the_rest():
    losses = [1e6, *np.linspace(2.0, 1.0, 99)]
    (axes,) = plots.loss_curves(losses, [], best_epoch=99).axes
    low, high = axes.get_ylim()
    assert 0.9 < low < 1.0
    assert 1.9 < high < 2.2


def normal_draws(names, n=400):
    rng = np.random.default_rng(0)
    return {a: {"mu": rng.normal(size=n), "tau": rng.gamma(2.0, size=(n, 1))} for a in names}


def test_histograms_have_one_panel_per_quantity():
    reference = {"mu": (0.0, 1.0), "tau": (2.0, 1.4)}
    figure = plots.marginal_histograms(normal_draws(["flow", "normal"]), reference=reference)
    assert [axes.get_xlabel() for axes in figure.axes] == ["mu", "tau"]
    assert {axes.get_ylabel() for axes in figure.axes} == {"density"}
    for axes, (mean, sd) in zip(figure.axes, reference.values(), strict=True):
        assert list(axes.lines[0].get_xdata()) == [mean, mean]
        band = axes.patches[-1].get_extents().transformed(axes.transData.inverted())
        assert (band.x0, band.x1) == pytest.approx((mean - sd, mean + sd))
    assert labels(figure.axes[0]) == ["flow", "normal", "reference mean, sd"]


def test_histograms_are_densities():
    figure = plots.marginal_histograms(normal_draws(["flow"]), reference={"mu": (0.0, 1.0)})
    corners = figure.axes[0].patches[0].get_xy()
    x, y = corners[:, 0], corners[:, 1]
    assert np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) == pytest.approx(1.0)


def test_more_approximations_than_colours_are_all_shown():
    names = [f"number {i}" for i in range(len(plots.COLOURS) + 2)]
    figure = plots.marginal_histograms(normal_draws(names), reference={"mu": (0.0, 1.0)})
    assert labels(figure.axes[0]) == [*names, "reference mean, sd"]


def test_samples_stand_beside_the_data():
    rng = np.random.default_rng(0)
    data, near, far = rng.normal(size=(50, 3)), rng.normal(size=(20, 3)), 99 * np.ones((10, 3))
    figure = plots.samples_beside_data(
        data, {"maf": near, "wild": far}, columns=(2, 0), labels=("width", "height")
    )
    panels = figure.axes
    assert [axes.get_title() for axes in panels] == ["data", "maf", "wild"]
    assert [axes.get_xlabel() for axes in panels] == ["width"] * 3
    assert panels[0].get_ylabel() == "height"
    for axes, values in zip(panels, (data, near, far), strict=True):
        np.testing.assert_array_equal(axes.collections[0].get_offsets(), values[:, [2, 0]])
    low, high = panels[2].get_xlim()  # the window is the data's in every panel
    assert low < data[:, 2].min() < data[:, 2].max() < high < 10


def test_data_alone_may_be_shown():
    assert len(plots.samples_beside_data([[0.0, 1.0], [1.0, 2.0]], {}).axes) == 1


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG\r\n")


WRITERS = {
    "loss_curves": lambda path: plots.loss_curves([1.0], [], best_epoch=0, path=path),
    "marginal_histograms": lambda path: plots.marginal_histograms(
        normal_draws(["flow"]), reference={"mu": (0.0, 1.0)}, path=path
    ),
    "samples_beside_data": lambda path: plots.samples_beside_data(np.eye(3), {}, path=path),
    "warped_grid": lambda path: plots.warped_grid(np.sinh, num_lines=3, path=path),
    "density_with_samples": lambda path: plots.density_with_samples(
        lambda x: -(x**2).sum(1), np.eye(2), path=path
    ),
    "corner": lambda path: plots.corner(normal_draws(["flow"]), path=path),
    "growth_curves": lambda path: plots.growth_curves({"one": ([1, 2], [1.0, 3.0])}, path=path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_picture_is_written_where_it_is_asked_for_and_only_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert isinstance(WRITERS[name](None), Figure)
    assert list(tmp_path.iterdir()) == []
    for path in (tmp_path / "picture.png", str(tmp_path / "text.png")):
        assert isinstance(WRITERS[name](path), Figure)
        assert is_png(Path(path))
    assert len(list(tmp_path.iterdir())) == 2


def test_colours_are_told_apart():
    colours = [matplotlib.colors.to_rgb(c) for c in plots.COLOURS]
    assert len(set(colours)) == len(colours)


def test_pyplot_is_never_imported(tmp_path):
    code = """
        import sys
        from flowkit_core import plots
        assert not any(name.startswith("matplotlib") for name in sys.modules)
        plots.loss_curves([1.0, 2.0], [1.0, 2.0], best_epoch=0, path=sys.argv[1])
        draws = {"flow": {"mu": [0.0, 1.0, 2.0]}}
        plots.marginal_histograms(draws, reference={"mu": (0.0, 1.0)})
        plots.samples_beside_data([[0.0, 1.0], [1.0, 0.0]], {"flow": [[0.0, 1.0]]})
        plots.warped_grid(lambda z: 2 * z)
        plots.density_with_samples(lambda x: 0 * x[:, 0], [[0.0, 1.0], [1.0, 0.0]])
        plots.corner(draws)
        plots.growth_curves({"one": ([1, 2], [1.0, 3.0])})
        print("matplotlib.figure" in sys.modules, "matplotlib.pyplot" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "losses.png")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True False"), done.stderr
