"""The tutorial of images in a tiny setting: every part runs, and says what it should."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

import pyro_flowkit
from tutorials.images import data, gaussian, models, outcome, pictures, table, training_pyro
from tutorials.images.settings import MODELS, Settings

TINY = Settings(
    hidden_channels=2,
    glow_channels=2,
    num_steps=1,
    epochs=2,
    batch_size=20,
    check_every=1,
    noises=2,
)


@pytest.fixture(scope="module")
def digits():
    whole = data.digits()
    few = {name: slice(0, n) for name, n in (("train", 40), ("validation", 20), ("held_out", 360))}
    return data.Digits(
        **{
            name: data.Part(getattr(whole, name).levels[rows], getattr(whole, name).classes[rows])
            for name, rows in few.items()
        }
    )


def test_the_parts_are_apart_and_whole():
    whole = data.digits()
    assert [len(part) for part in (whole.train, whole.validation, whole.held_out)] == [
        1297,
        140,
        360,
    ]
    rows = np.concatenate([p.levels for p in (whole.train, whole.validation, whole.held_out)])
    assert rows.shape == (1797, 1, 8, 8)
    assert set(np.unique(rows)) == set(range(17))
    assert (whole.train.classes.sum(1) == 1).all()


def test_the_flow_of_vectors_is_as_large_as_that_of_images():
    sizes = {name: models.spec_of(name, Settings()).num_parameters for name in MODELS}
    assert abs(sizes["realnvp"] / sizes["realnvp_image"] - 1) < 0.02
    assert abs(sizes["glow"] / sizes["realnvp_image"] - 1) < 0.05


def test_ways_start_and_end_at_their_ends_and_stay_standard_normal(digits):
    first, last = np.random.default_rng(0).normal(size=(2, 4000, 1, 8, 8))
    ways = outcome.ways_between(first, last)
    np.testing.assert_allclose(ways[:, 0], first, atol=1e-12)
    np.testing.assert_allclose(ways[:, -1], last, atol=1e-12)
    np.testing.assert_allclose(ways.std((0, 2, 3, 4)), 1, atol=0.01)
    a, b = outcome.ends(digits.held_out)
    assert len({*digits.held_out.classes[a].argmax(1), *digits.held_out.classes[b].argmax(1)}) == 8


def checked(one, model):
    assert one.model == model
    assert one.bits.shape == (360,)
    assert np.isfinite(one.bits).all()
    assert one.drawn.shape == (outcome.NUM_DRAWN, *data.SHAPE)
    assert (one.ways is None) == (model == "glow_class")
    if one.ways is not None:
        assert one.ways.shape == (outcome.NUM_WAYS, outcome.WAY_LENGTH, *data.SHAPE)
    assert [epoch for epoch, _ in one.curve] == [1, 2]
    assert one.curve[1][1] < one.curve[0][1]
    return one


def test_pyro_fits_and_the_table_and_pictures_follow(digits, tmp_path, capsys):
    normal = gaussian.run(digits, TINY)
    found = {
        model: checked(training_pyro.run(model, digits, TINY), model)
        for model in ("realnvp", "glow", "glow_class")
    }
    table.introduce(digits)
    print(table.row(normal, normal, None))
    for one in found.values():
        print(table.row(one, normal, found["realnvp"]))
    print(table.conclude(found, normal))
    printed = capsys.readouterr().out
    for name in found:
        assert MODELS[name] in printed
    assert f"{found['glow'].mean_bits.value:.3f}" in printed
    assert "Glow: " in printed
    paths = pictures.draw("Pyro", found, normal, digits, tmp_path)
    assert all(path.stat().st_size > 10_000 for path in paths)


@pytest.mark.slow
def test_numpyro_fits(digits):
    from tutorials.images import training_numpyro

    for model in ("realnvp_image", "glow_class"):
        checked(training_numpyro.run(model, digits, TINY), model)


def test_the_gaussians_bits_are_those_of_scipy_and_of_the_flows_logit(digits):
    rng = np.random.default_rng(0)
    mean, root = rng.normal(size=64), rng.normal(size=(64, 64))
    covariance = root @ root.T / 64 + np.eye(64)
    z, log_det = gaussian._logits(digits.validation, np.random.default_rng(2))
    logit = pyro_flowkit.logit(64, alpha=models.ALPHA)
    x, of_flow = logit.forward_and_log_det(torch.from_numpy(z))
    assert (torch.floor(17 * x).reshape(-1, 1, 8, 8).numpy() == digits.validation.levels).all()
    np.testing.assert_allclose(log_det, -of_flow, rtol=1e-9)
    log_prob = multivariate_normal(mean, covariance).logpdf(z) + log_det
    got = gaussian._bits(mean, covariance, digits.validation, np.random.default_rng(2))
    np.testing.assert_allclose(got, np.log2(17) - log_prob / (64 * np.log(2)), rtol=1e-9)
