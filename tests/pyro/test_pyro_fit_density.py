"""fit_density: what it finds, when it stops, what it refuses."""

import math

import numpy as np
import pytest
import torch

import pyro_flowkit as fk
from pyro_flowkit import density as density_module
from tests.pyro.helpers import SMALL, points

FACTOR = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.5, 0.3, 0.4]]).double()
SHIFT = torch.tensor([1.0, -1.0, 0.5]).double()
GAUSSIAN = torch.distributions.MultivariateNormal(SHIFT, scale_tril=FACTOR)

QUICK = {"num_epochs": 3, "batch_size": 32, "progress": False}


def rows(n=200, seed=0):
    return points(n, 3, seed=seed) @ FACTOR.T + SHIFT


def fresh(recipe=fk.realnvp, **kwargs):
    return recipe(3, **{**SMALL, **kwargs})


def weights(flow):
    return {name: p.detach().clone() for name, p in flow.named_parameters()}


def assert_equal_weights(one, two):
    for (name, a), (_, b) in zip(one.items(), two.items(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("recipe", [fk.maf, fk.realnvp, lambda d, **_: fk.lu_linear(d)])
def test_it_recovers_a_correlated_gaussian(recipe):
    flow = recipe(3, num_layers=3, hidden_dims=(8,)).double()
    fk.fit_density(
        flow, rows(4000), num_epochs=25, batch_size=256, learning_rate=2e-2, progress=False
    )
    held_out = rows(4000, seed=9)
    difference = GAUSSIAN.log_prob(held_out) - fk.FlowDistribution(flow).log_prob(held_out)
    kl, error = difference.mean(), difference.std() / math.sqrt(len(held_out))
    # Fitting k = 9 numbers to 3600 rows costs about k / (2 n) = 0.00125 nats; networks cost more.
    assert -4 * error < kl < 0.02 + 4 * error


def test_it_returns_the_flow_and_one_loss_per_epoch():
    flow = fresh()
    result = fk.fit_density(flow, rows(), **QUICK)
    assert result.flow is flow
    assert len(result.train_losses) == len(result.validation_losses) == 3
    assert (result.stopped, result.skipped_steps) == ("epochs", 0)
    assert result.best_loss == min(result.validation_losses)


def test_no_validation_trains_on_all_rows():
    result = fk.fit_density(fresh(), rows(), validation=0, **QUICK)
    assert result.validation_losses == ()
    assert result.best_loss == min(result.train_losses)


def test_it_stops_when_patience_runs_out_and_keeps_the_best_weights():
    flow = fresh().double()
    result = fk.fit_density(
        flow, rows(40), num_epochs=300, batch_size=40, learning_rate=0.1, patience=5,
        schedule="constant", progress=False,
    )  # fmt: skip
    assert result.stopped == "patience"
    assert len(result.validation_losses) == result.best_epoch + 1 + 5
    order = np.random.default_rng((0, 0)).permutation(40)
    held_out = rows(40)[order[:4]]
    loss = -fk.FlowDistribution(flow).log_prob(held_out).mean()
    assert loss.item() == pytest.approx(result.best_loss, abs=1e-12)
    assert result.validation_losses[-1] > result.best_loss


def test_the_same_seed_gives_the_same_fit():
    one, two = fresh(), fresh()
    first = fk.fit_density(one, rows(), seed=3, **QUICK)
    torch.randn(5)  # torch's own stream plays no part
    second = fk.fit_density(two, rows(), seed=3, **QUICK)
    assert (first.train_losses, first.validation_losses) == (
        second.train_losses, second.validation_losses
    )  # fmt: skip
    assert_equal_weights(weights(one), weights(two))


def test_another_seed_gives_another_fit():
    one = fk.fit_density(fresh(), rows(), seed=3, **QUICK)
    assert one.train_losses != fk.fit_density(fresh(), rows(), seed=4, **QUICK).train_losses


def test_the_constant_schedule_keeps_the_rate():
    one, two = fresh(), fresh()
    fk.fit_density(one, rows(), schedule="constant", **QUICK)
    fk.fit_density(two, rows(), schedule="cosine", **QUICK)
    assert any((a != b).any() for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_rates_reach_the_optimizer(monkeypatch):
    seen = []
    real = torch.optim.Adam.step

    def spy(self, *args, **kwargs):
        seen.append(self.param_groups[0]["lr"])
        return real(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    fk.fit_density(fresh(), rows(), learning_rate=0.01, **QUICK)
    steps = 3 * (180 // 32)
    expected = [0.005 * (1 + math.cos(math.pi * k / steps)) for k in range(steps)]
    assert seen == pytest.approx(expected)


def test_gradients_are_clipped(monkeypatch):
    norms = []
    real = torch.optim.Adam.step

    def spy(self, *args, **kwargs):
        grads = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
        norms.append(float(torch.cat([g.flatten() for g in grads]).norm()))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    fk.fit_density(fresh(), 50 * rows(), max_grad_norm=0.5, **QUICK)
    assert max(norms) <= 0.5 * (1 + 1e-4)
    assert max(norms) > 0.49


def test_steps_that_are_not_finite_are_skipped(monkeypatch):
    real = density_module._Trainer._loss
    calls = []

    def sometimes_nan(self, data, context):
        loss = real(self, data, context)
        calls.append(1)
        return loss * float("nan") if len(calls) % 3 == 0 and torch.is_grad_enabled() else loss

    monkeypatch.setattr(density_module._Trainer, "_loss", sometimes_nan)
    flow = fresh()
    result = fk.fit_density(flow, rows(), **QUICK)
    assert result.skipped_steps > 0
    assert all(map(math.isfinite, result.train_losses))
    assert all(torch.isfinite(p).all() for p in flow.parameters())


def test_a_fit_that_only_diverges_says_so_and_keeps_the_weights(monkeypatch):
    real = density_module._Trainer._loss
    monkeypatch.setattr(
        density_module._Trainer, "_loss", lambda self, *a: real(self, *a) * float("nan")
    )
    flow = fresh()
    before = weights(flow)
    result = fk.fit_density(flow, rows(), **QUICK)
    assert result.stopped == "diverged"
    assert_equal_weights(before, weights(flow))


def test_a_context_is_learnt():
    context = points(1000, 1, seed=5)
    data = 2 * context + 0.3 * points(1000, 1, seed=6)
    flow = fk.maf(1, context_dim=1, num_layers=2, hidden_dims=(8,)).double()
    fk.fit_density(
        flow, data, context=context, num_epochs=25, batch_size=100, learning_rate=0.02,
        progress=False,
    )  # fmt: skip
    got = fk.FlowDistribution(flow, context=context).log_prob(data).mean()
    expected = torch.distributions.Normal(2 * context, 0.3).log_prob(data).mean()
    # 900 rows and about 50 weights: k / (2 n) = 0.03 nats.
    assert got > expected - 0.1


def test_another_base_is_used():
    base = torch.distributions.Independent(
        torch.distributions.StudentT(torch.full((3,), 3.0), 0.0, 1.0), 1
    )
    one = fk.fit_density(fresh(), rows(), base=base, **QUICK)
    assert one.train_losses != fk.fit_density(fresh(), rows(), **QUICK).train_losses


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_data_of_another_precision_is_converted(dtype):
    flow = fresh().to(dtype)
    other = torch.float64 if dtype == torch.float32 else torch.float32
    one = fk.fit_density(flow, rows().to(other), **QUICK)
    assert {p.dtype for p in flow.parameters()} == {dtype}
    assert math.isfinite(one.best_loss)


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor, lambda a: np.asarray(a).tolist()])
def test_arrays_tensors_and_lists_give_the_same_fit(convert):
    expected = fk.fit_density(fresh(), rows(), **QUICK)
    got = fk.fit_density(fresh(), convert(rows()), **QUICK)
    assert got.train_losses == expected.train_losses


def test_the_data_is_left_as_it_was():
    data = rows()
    before = data.clone()
    fk.fit_density(fresh().double(), data, **QUICK)
    assert torch.equal(data, before)


def test_progress_can_be_silenced(capfd):
    fk.fit_density(fresh(), rows(), **QUICK)
    assert capfd.readouterr() == ("", "")


def test_progress_is_shown_on_standard_error(capfd):
    fk.fit_density(fresh(), rows(), **{**QUICK, "progress": True})
    out, err = capfd.readouterr()
    assert out == ""
    assert "3/3" in err
    assert "loss" in err


def test_the_plot_is_a_figure_and_a_png(tmp_path):
    result = fk.fit_density(fresh(), rows(), **QUICK)
    figure = result.plot(tmp_path / "losses.png")
    assert type(figure).__name__ == "Figure"
    assert len(figure.axes[0].lines) == 3  # training, validation, the kept epoch
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")


def test_frozen_weights_stay_where_they_are():
    flow = fk.compose(fk.lu_linear(3), fresh())
    for parameter in flow.layers[0].parameters():
        parameter.requires_grad_(False)
    before = weights(flow.layers[0])
    fk.fit_density(flow, rows(), **QUICK)
    assert_equal_weights(before, weights(flow.layers[0]))


def test_coordinates_of_the_base_need_no_event_dimension():
    base = torch.distributions.StudentT(3.0, torch.zeros(3).double(), 1.0)
    joint, still_apart = (torch.distributions.Independent(base, n) for n in (1, 0))
    losses = [
        fk.fit_density(fresh().double(), rows(), base=b, **QUICK).train_losses
        for b in (base, joint, still_apart)
    ]
    assert losses[0] == losses[1] == losses[2]
