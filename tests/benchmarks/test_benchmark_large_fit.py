"""The horseshoe: its data, what is said of a fit, and the section's cells from a tiny problem."""

import numpy as np
import pytest

from benchmarks import horseshoe, large_fit
from benchmarks.sections import large_fit as section

TINY = {"dim": 12, "rows": 60, "signals": 2}


def test_the_truth_is_learnt_perfectly():
    data = horseshoe.sparse(**TINY)
    assert data.signals.sum() == 2
    told = horseshoe.learnt(data, np.tile(data.beta, (5, 1)))
    assert (told["found"], told["false"], told["coverage"]) == (2, 0, 1.0)
    probability = 1 / (1 + np.exp(-data.logits_held_out))
    assert told["log_loss"] == pytest.approx(horseshoe.log_loss(data, probability))


def test_wide_draws_find_nothing_and_cover_all():
    data = horseshoe.sparse(**TINY)
    draws = np.random.default_rng(0).normal(scale=10, size=(500, 12))
    told = horseshoe.learnt(data, draws)
    assert (told["found"], told["false"], told["coverage"]) == (0, 0, 1.0)


def test_rivals_lie_between_the_truth_and_nothing():
    rivals = horseshoe.rivals(horseshoe.sparse(40, 200, 2))
    assert rivals["truth"] < rivals["lasso"] < rivals["ridge"] < rivals["nothing"] + 0.1


@pytest.mark.parametrize(
    ("backend", "library"),
    [("torch", "pyro_flowkit"), pytest.param("jax", "numpyro_flowkit", marks=pytest.mark.slow)],
)
def test_a_fit_becomes_a_row(backend, library):
    guide = ("AutoIAF", {"num_layers": 1, "hidden_dims": (4, 4)})
    fit = large_fit.measure(library, **TINY, guide=guide, num_steps=20, num_starts=1)
    assert (fit["latents"], fit["steps"], fit["skipped"]) == (26, 20, 0)
    rivals = {"truth": 0.1, "nothing": 0.7}
    cell = {"backend": backend, "guide": guide, "rivals": rivals, "fit": fit, **TINY}
    (_, _, row, *_, others) = section.render([cell])
    assert "20 (steps)" in row
    assert others == "Log-loss of others: truth 0.100, nothing 0.700."


def test_a_failure_is_told():
    cell = {"backend": "jax", "guide": section.GUIDES[0], "rivals": {}, "fit": {"failed": "why"}}
    assert "why" in section.render([cell])[2]
