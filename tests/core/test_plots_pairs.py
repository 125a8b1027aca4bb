"""Corner plots, growth of costs, tails of several guides."""

import numpy as np
import pytest

from flowkit_core import plots
from flowkit_core.diagnostic_plots import khat_tails
from flowkit_core.diagnostics import diagnose_draws


@pytest.fixture
def sites(rng):
    return {"mu": rng.normal(3.0, 2.0, 500), "theta": rng.normal(size=(500, 2, 1))}


def visible(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_a_corner_has_a_panel_for_each_pair_and_each_quantity(sites):
    figure = plots.corner({"flow": sites, "normal": sites}, reference=sites)
    assert len(figure.axes) == 9
    panels = visible(figure)
    assert len(panels) == 6
    assert [axes.get_xlabel() for axes in panels[3:]] == ["mu", "theta[0,0]", "theta[1,0]"]
    assert [panels[i].get_ylabel() for i in (1, 3)] == ["theta[0,0]", "theta[1,0]"]
    assert texts(figure.legends[0]) == ["reference", "flow", "normal"]


def test_lines_on_the_diagonal_are_densities(sites):
    (axes,) = plots.corner({"flow": sites}, quantities=["mu"]).axes
    x, y = axes.lines[0].get_xydata().T
    assert y.sum() * (x[1] - x[0]) == pytest.approx(1.0, abs=0.02)
    assert x @ y / y.sum() == pytest.approx(sites["mu"].mean(), abs=0.1)


def test_the_window_is_the_references(sites):
    far = {"mu": sites["mu"] + 1e6, "theta": sites["theta"]}
    figure = plots.corner({"far": far}, reference=sites, quantities=["mu", "theta[0,0]"])
    low, high = figure.axes[0].get_xlim()
    assert -10 < low < high < 20


def test_a_constant_is_drawn_too(sites):
    plots.corner({"flow": {"mu": sites["mu"], "c": np.full(500, 2.0)}})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"draws": {}}, "draws: expected those of at least one"),
        ({"draws": {"a": {"mu": 1.0}}}, r"draws\['a'\]\['mu'\]: expected draws \(n, ...\)"),
        ({"draws": {"a": {"mu": [1.0, np.nan]}}}, "expected finite draws"),
        ({"draws": {"a": {"w": np.zeros((9, 11))}}}, "expected 1 to 10 to show, got 11"),
        ({"quantities": []}, "expected 1 to 10 to show, got 0"),
        ({"quantities": ["nu"]}, "quantities: expected ones that 'flow' has, mu"),
        ({"reference": {"nu": [0.0, 1.0]}}, "quantities: expected ones that 'reference' has, nu"),
    ],
)
def test_other_draws_are_refused(change, text):
    with pytest.raises(ValueError, match=text):
        plots.corner(**{"draws": {"flow": {"mu": [0.0, 1.0, 2.0]}}, **change})


def test_growth_is_drawn_with_its_exponents():
    curves = {"loop": ([8, 16, 32], [1.0, 4.0, 16.0]), "pass": ([8, 32], [3.0, 3.0])}
    (axes,) = plots.growth_curves(curves, xlabel="d", ylabel="s").axes
    assert texts(axes.get_legend()) == ["loop (d^2.0)", "pass (d^0.0)"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["8", "16", "32"]
    assert (axes.get_xscale(), axes.get_yscale(), axes.get_ylabel()) == ("log", "log", "s")
    looks = {(one.get_color(), one.get_marker(), one.get_linestyle()) for one in axes.lines}
    assert all(len(set(column)) == 2 for column in zip(*looks, strict=True))


def test_the_exponent_is_that_of_the_upper_half():
    sizes = [8, 16, 32, 64, 128, 256]
    costs = [1.0, 1.0, 1.0, 64.0**1.5, 128.0**1.5, 256.0**1.5]
    assert plots.growth_exponent(sizes, costs) == pytest.approx(1.5)
    assert plots.growth_exponent(sizes[::-1], costs[::-1]) == pytest.approx(1.5)
    assert plots.growth_exponent([1, 2, 4], [1.0, 4.0, 16.0]) == pytest.approx(2)


@pytest.mark.parametrize(
    "curves",
    [
        {},
        {"a": ([1], [1.0])},
        {"a": ([1, 2], [1.0])},
        {"a": ([1, 2], [1.0, 0.0])},
        {"a": ([1, 2], [1.0, np.inf])},
    ],
)
def test_other_curves_are_refused(curves):
    with pytest.raises(ValueError, match="curves"):
        plots.growth_curves(curves)


def test_tails_of_guides_stand_together_with_their_khats(rng, tmp_path):
    x = rng.normal(size=1000)
    guides = {
        "equal": diagnose_draws(np.zeros(1000), {}),  # khat is -inf
        "narrow": diagnose_draws(1.5 * x**2, {}),
        "broken": diagnose_draws(np.full(1000, np.nan), {}),  # khat is +inf
    }
    left, right = khat_tails(guides, path=tmp_path / "khat.png").axes
    assert texts(left.get_legend()) == [*guides, "all equal"]
    assert [label.get_text() for label in right.get_yticklabels()] == list(guides)
    assert [text.get_text() for text in right.texts] == [f"{g.khat:z.2f}" for g in guides.values()]
    low, high = right.get_xlim()
    assert all(low < line.get_xdata()[0] < high for line in right.lines)
    assert right.get_title() == "khat: reliable up to 0.67"
    assert (tmp_path / "khat.png").stat().st_size > 0


def test_tails_of_no_guide_are_refused():
    with pytest.raises(ValueError, match="at least one diagnosis"):
        khat_tails({})
