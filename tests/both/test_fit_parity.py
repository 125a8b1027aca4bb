"""The same data, settings and weights give the same fit in both wings."""

import numpy as np
import numpyro.distributions
import pytest
import torch

import numpyro_flowkit
import pyro_flowkit
from flowkit_core import recipes as r
from numpyro_flowkit import density as numpyro_density
from pyro_flowkit import density as pyro_density
from tests.wings import WINGS

SPECS = {
    "maf": r.maf(3, num_layers=2, hidden_dims=(8,)),
    "realnvp_lu": r.realnvp(3, num_layers=2, hidden_dims=(8,), mixing="lu", activation="tanh"),
    "context": r.maf(3, num_layers=2, hidden_dims=(8,), context_dim=2, activation="silu"),
}
SETTINGS = {"num_epochs": 4, "batch_size": 20, "learning_rate": 0.02, "seed": 3, "progress": False}
OTHERS = {
    "defaults": {},
    "constant rate": {"schedule": "constant"},
    "clipped": {"max_grad_norm": 0.3},
    "all rows": {"validation": 0},
}


def data(seed=0):
    rng = np.random.default_rng(seed)
    context = rng.normal(size=(90, 2))
    return rng.normal(size=(90, 3)) @ rng.normal(size=(3, 3)) + 1, context


def both_starts(spec, path):
    """One flow, drawn by Pyro's wing and read by NumPyro's."""
    flow = WINGS["pyro"].fresh(spec)
    pyro_flowkit.save_flow(flow, path)
    return flow, numpyro_flowkit.load_flow(path)


def fit_both(name, path, **kwargs):
    rows, context = data()
    context = context if SPECS[name].context_dim else None
    pyro_flow, numpyro_flow = both_starts(SPECS[name], path)
    kwargs = {**SETTINGS, "context": context, **kwargs}
    return (
        pyro_flowkit.fit_density(pyro_flow, rows, **kwargs),
        numpyro_flowkit.fit_density(numpyro_flow, rows, **kwargs),
    )


def assert_same_fits(from_torch, from_jax):
    """Losses and weights agree to what rounding becomes in sixteen Adam steps."""
    assert (from_torch.best_epoch, from_torch.stopped, from_torch.skipped_steps) == (
        from_jax.best_epoch, from_jax.stopped, from_jax.skipped_steps
    )  # fmt: skip
    for losses in ("train_losses", "validation_losses"):
        np.testing.assert_allclose(
            getattr(from_jax, losses), getattr(from_torch, losses), rtol=1e-10
        )
    expected = WINGS["pyro"].named_arrays(from_torch.flow)
    for name, array in from_jax.flow.named_arrays().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-8, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("name", SPECS)
def test_fits_from_the_same_weights_agree(name, tmp_path):
    assert_same_fits(*fit_both(name, tmp_path / "start"))


@pytest.mark.parametrize("kind", OTHERS)
def test_fits_agree_under_other_settings(kind, tmp_path):
    assert_same_fits(*fit_both("realnvp_lu", tmp_path / "start", **OTHERS[kind]))


def test_fits_with_another_base_agree(tmp_path):
    rows, _ = data()
    pyro_flow, numpyro_flow = both_starts(SPECS["maf"], tmp_path / "start")
    loc = torch.zeros(3, dtype=torch.float64)
    heavy = torch.distributions.Independent(torch.distributions.StudentT(4.0, loc, 1.0), 1)
    same = numpyro.distributions.StudentT(4.0, np.zeros(3), 1.0).to_event(1)
    assert_same_fits(
        pyro_flowkit.fit_density(pyro_flow, rows, base=heavy, **SETTINGS),
        numpyro_flowkit.fit_density(numpyro_flow, rows, base=same, **SETTINGS),
    )


def test_both_wings_visit_the_same_rows_at_the_same_rates(monkeypatch, tmp_path):
    visits = []
    for module in (pyro_density, numpyro_density):
        seen = []
        visits.append(seen)
        real = module._Trainer.train_epoch

        def spy(self, batches, rates, real=real, seen=seen):
            train, held_out = (part[0].tolist() for part in (self.train, self.held_out))
            seen.append((train, held_out, batches, rates))
            return real(self, batches, rates)

        monkeypatch.setattr(module._Trainer, "train_epoch", spy)
    fit_both("maf", tmp_path / "start")
    from_torch, from_jax = visits
    assert len(from_torch) == len(from_jax) == SETTINGS["num_epochs"]
    for one, two in zip(from_torch, from_jax, strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_flow_fitted_in_numpyro_is_the_same_density_in_pyro(tmp_path):
    _, from_jax = fit_both("maf", tmp_path / "start")
    numpyro_flowkit.save_flow(from_jax.flow, tmp_path / "fitted")
    flow = pyro_flowkit.load_flow(tmp_path / "fitted")
    rows, _ = data(seed=5)
    got = pyro_flowkit.FlowDistribution(flow).log_prob(torch.from_numpy(rows))
    expected = numpyro_flowkit.FlowDistribution(from_jax.flow).log_prob(rows)
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-10)
