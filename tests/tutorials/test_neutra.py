"""The NeuTra tutorial in a tiny setting: every part runs, and says what it should."""

import numpy as np
import pytest

from tutorials.neutra import picture, schools_numpyro, schools_pyro, table
from tutorials.neutra.runs import Length, Run

TINY = Length(chains=2, warmup=3, draws=4, fit_steps=10)


def made_up(log_tau=0.8, seed=0, chains=2, draws=50, warped=None):
    rng = np.random.default_rng(seed)
    return Run(
        mu=rng.normal(4.4, 3.3, size=(chains, draws)),
        log_tau=rng.normal(log_tau, 1.0, size=(chains, draws)),
        theta=rng.normal(size=(chains, draws, 8)),
        diverging=rng.uniform(size=(chains, draws)) < 0.1,
        leapfrogs=1000,
        seconds=2.0,
        fit_seconds=0.0 if warped is None else 30.0,
        warped=warped,
    )


def check(run, *, warped):
    assert run.mu.shape == run.log_tau.shape == run.diverging.shape == (2, 4)
    assert run.theta.shape == (2, 4, 8)
    assert run.leapfrogs >= 8
    assert run.seconds > 0
    assert all(np.isfinite(draws).all() for draws in run.quantities.values())
    assert (run.warped is not None) == warped
    if warped:
        assert run.warped.shape == (2, 4, 10)
        assert run.fit_seconds > 0


@pytest.mark.parametrize(
    "module",
    [pytest.param(schools_numpyro, marks=pytest.mark.slow, id="numpyro"), schools_pyro],
)
def test_a_library_runs_before_and_after(module):
    check(module.plain(TINY), warped=False)
    check(module.neutra(TINY), warped=True)


@pytest.mark.slow
def test_the_reference_has_the_same_sites():
    check(schools_numpyro.reference(TINY), warped=False)


def test_the_table_and_the_picture(tmp_path, capsys):
    reference = made_up(draws=500, seed=1)
    runs = {"plain": made_up(1.1), "NeuTra": made_up(warped=np.zeros((2, 50, 10)))}
    table.introduce(reference)
    table.report("Pyro", runs)
    table.conclude({"Pyro": runs})
    printed = capsys.readouterr().out
    rows = [line.split()[1] for line in printed.splitlines() if line.startswith("Pyro  ")]
    assert rows == ["plain", "NeuTra"]
    assert str(runs["plain"].diverging.sum()) in printed
    path = picture.draw({"Pyro": runs}, reference, tmp_path / "neutra.png")
    assert path.stat().st_size > 10_000
