"""Draws of the posterior by way of a guide, in Pyro."""

import functools
import warnings

import pytest
import torch

import pyro_flowkit as fk
from tests.pyro import models
from tests.pyro.diagnosed import evidence, guide_at, seeded


def test_a_shifted_guide_is_usable_and_resampling_moves_it():
    mean, covariance = models.regression_posterior(dtype=torch.float32)
    guide = guide_at(models.regression, {"weights": mean + 0.3}, 0.5)
    found = fk.diagnose(guide, num_samples=20_000, generator=seeded())
    assert found.level == "usable after importance weighting"
    assert abs(found.log_evidence - evidence()) < 4 * found.log_evidence_stderr
    drawn = fk.importance_resample(guide, num_draws=4000, num_samples=20_000, generator=seeded(1))[
        "weights"
    ]
    assert drawn.shape == (4000, 2)
    sds = covariance.diagonal().sqrt()
    assert torch.all((drawn.mean(0) - mean).abs() < 0.1 * sds)
    torch.testing.assert_close(drawn.std(0), sds, rtol=0.1, atol=0)
    smoothed = torch.tensor([p.smoothed_mean for p in found.parameters])
    assert torch.all((smoothed - mean).abs() < 0.1 * sds)


@pytest.mark.parametrize("replace", [True, False])
def test_resampling_repeats_itself_given_a_generator(replace):
    guide = guide_at(models.regression, {"weights": torch.tensor([1.0, 0.3])}, 0.5)
    again = functools.partial(
        fk.importance_resample, guide, num_draws=50, num_samples=500, replace=replace
    )
    one, two, other = again(generator=seeded()), again(generator=seeded()), again()
    torch.testing.assert_close(one["weights"], two["weights"], rtol=0, atol=0)
    assert not torch.equal(one["weights"], other["weights"])
    if not replace:
        assert len(torch.unique(one["weights"], dim=0)) == 50


def test_resampling_from_a_guide_that_is_not_trusted_warns():
    guide = guide_at(models.regression, {"weights": torch.tensor([1.2, 0.4])}, 0.03)
    with pytest.warns(UserWarning, match="importance_resample: do not trust: khat"):
        fk.importance_resample(guide, num_draws=10, generator=seeded())


def test_resampled_draws_become_inference_data():
    guide = guide_at(models.regression, {"weights": torch.tensor([1.2, 0.4])}, 0.5)
    drawn = fk.importance_resample(guide, num_draws=300, num_samples=1000, generator=seeded())
    data = fk.to_arviz(drawn)
    assert dict(data.posterior.sizes) == {"chain": 1, "draw": 300, "weights_dim_0": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fk.diagnose(guide, num_samples=100).to_arviz().sample_stats.sizes["draw"] == 100
