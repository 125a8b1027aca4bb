"""fit_density: what it finds, when it stops, what it leaves alone."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import numpyro_flowkit as fk
from tests.numpyro.models import SMALL, assert_same_leaves

FACTOR = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.5, 0.3, 0.4]])
SHIFT = np.array([1.0, -1.0, 0.5])
GAUSSIAN = dist.MultivariateNormal(SHIFT, scale_tril=FACTOR)
QUICK = {"num_epochs": 3, "batch_size": 32, "progress": False}


def rows(n=200, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3)) @ FACTOR.T + SHIFT


def fresh(recipe=fk.realnvp, **kwargs):
    return recipe(3, **{**SMALL, **kwargs})(jax.random.key(0))


def losses(result):
    return result.train_losses, result.validation_losses


@pytest.mark.parametrize(
    "recipe",
    [pytest.param(fk.maf, marks=pytest.mark.slow), fk.realnvp, lambda d, **_: fk.lu_linear(d)],
)
def test_it_recovers_a_correlated_gaussian(recipe):
    result = fk.fit_density(
        recipe(3, num_layers=3, hidden_dims=(8,)), rows(4000), num_epochs=25, batch_size=256,
        learning_rate=2e-2, progress=False,
    )  # fmt: skip
    held_out = rows(4000, seed=9)
    difference = GAUSSIAN.log_prob(held_out) - fk.FlowDistribution(result.flow).log_prob(held_out)
    kl, error = difference.mean(), difference.std() / math.sqrt(len(held_out))
    # Fitting k = 9 numbers to 3600 rows costs about k / (2 n) = 0.00125 nats; networks cost more.
    assert -4 * error < kl < 0.02 + 4 * error


def test_a_linear_flow_reaches_the_maximum_likelihood_gaussian():
    data = rows(100)
    # All rows in each batch, so that the only noise is that of the rate, which goes to zero.
    result = fk.fit_density(
        fk.lu_linear(3), data, validation=0, batch_size=100, num_epochs=1500, learning_rate=0.05,
        patience=1500, progress=False,
    )  # fmt: skip
    flow = result.flow
    matrix = np.asarray(jax.jacobian(flow)(jnp.zeros(3)))
    np.testing.assert_allclose(flow(jnp.zeros(3)), data.mean(0), atol=1e-6)
    np.testing.assert_allclose(matrix @ matrix.T, np.cov(data.T, bias=True), atol=1e-6)
    entropy = 1.5 * math.log(2 * math.pi * math.e) + np.linalg.slogdet(matrix)[1]
    assert result.best_loss == pytest.approx(entropy, abs=1e-6)


def test_it_returns_one_loss_per_epoch_and_leaves_the_flow_as_it_was():
    flow = fresh()
    before = jax.tree.map(np.array, flow)
    result = fk.fit_density(flow, rows(), **QUICK)
    assert len(result.train_losses) == len(result.validation_losses) == 3
    assert (result.stopped, result.skipped_steps) == ("epochs", 0)
    assert result.best_loss == min(result.validation_losses)
    assert result.flow != flow
    assert result.flow.spec == flow.spec
    assert_same_leaves(flow, before)


def test_a_recipes_result_starts_from_the_seed():
    recipe = fk.realnvp(3, **SMALL)
    one = fk.fit_density(recipe, rows(), seed=3, **QUICK)
    two = fk.fit_density(recipe(jax.random.key(3)), rows(), seed=3, **QUICK)
    other = fk.fit_density(recipe(jax.random.key(4)), rows(), seed=3, **QUICK)
    assert_same_leaves(one.flow, two.flow)
    assert losses(one) == losses(two) != losses(other)


def test_no_validation_trains_on_all_rows():
    result = fk.fit_density(fresh(), rows(), validation=0, **QUICK)
    assert result.validation_losses == ()
    assert result.best_loss == min(result.train_losses)


def test_it_stops_when_patience_runs_out_and_keeps_the_best_weights():
    result = fk.fit_density(
        fresh(), rows(40), num_epochs=300, batch_size=40, learning_rate=0.1, patience=5,
        schedule="constant", progress=False,
    )  # fmt: skip
    assert result.stopped == "patience"
    assert len(result.validation_losses) == result.best_epoch + 1 + 5
    order = np.random.default_rng((0, 0)).permutation(40)
    loss = -fk.FlowDistribution(result.flow).log_prob(rows(40)[order[:4]]).mean()
    assert float(loss) == pytest.approx(result.best_loss, abs=1e-12)
    assert result.validation_losses[-1] > result.best_loss


def test_the_seed_decides_the_fit():
    one, two, other = (fk.fit_density(fresh(), rows(), seed=s, **QUICK) for s in (3, 3, 4))
    assert losses(one) == losses(two) != losses(other)
    assert_same_leaves(one.flow, two.flow)


def test_a_fit_that_only_diverges_says_so_and_keeps_the_weights():
    flow = fresh()
    nowhere = dist.Normal(jnp.full(3, jnp.nan), 1.0, validate_args=False).to_event(1)
    result = fk.fit_density(flow, rows(), base=nowhere, **QUICK)
    assert result.stopped == "diverged"
    assert result.skipped_steps == 180 // 32
    assert_same_leaves(result.flow, flow)


def test_a_context_is_learnt(rng):
    context = rng.normal(size=(1000, 1))
    data = 2 * context + 0.3 * rng.normal(size=(1000, 1))
    flow = fk.maf(1, context_dim=1, **SMALL)
    result = fk.fit_density(
        flow, data, context=context, num_epochs=25, batch_size=100, learning_rate=0.02,
        progress=False,
    )  # fmt: skip
    got = fk.FlowDistribution(result.flow, context=jnp.asarray(context)).log_prob(data).mean()
    expected = dist.Normal(2 * context, 0.3).log_prob(data).mean()
    # 900 rows and about 50 weights: k / (2 n) = 0.03 nats.
    assert got > expected - 0.1


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_data_of_another_precision_is_converted(dtype):
    flow = fk.realnvp(3, **SMALL)(jax.random.key(0), dtype=dtype)
    other = np.float64 if dtype == np.float32 else np.float32
    result = fk.fit_density(flow, rows().astype(other), **QUICK)
    assert {leaf.dtype for leaf in jax.tree.leaves(result.flow)} == {np.dtype(dtype)}
    assert math.isfinite(result.best_loss)


@pytest.mark.parametrize("convert", [jnp.asarray, np.ndarray.tolist])
def test_arrays_and_lists_give_the_same_fit(convert):
    data = rows()
    expected = fk.fit_density(fresh(), data, **QUICK)
    assert losses(fk.fit_density(fresh(), convert(data), **QUICK)) == losses(expected)
    np.testing.assert_array_equal(data, rows())


def test_coordinates_of_the_base_need_no_event_dimension():
    base = dist.StudentT(3.0, jnp.zeros(3), 1.0)
    one = fk.fit_density(fresh(), rows(), base=base, **QUICK)
    two = fk.fit_density(fresh(), rows(), base=base.to_event(1), **QUICK)
    assert losses(one) == losses(two)


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
