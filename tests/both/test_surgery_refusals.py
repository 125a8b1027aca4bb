"""What surgery refuses, and how it says so."""

import numpy as np
import pytest

from tests.surgery import (
    DISTRIBUTIONS,
    SURGERY,
    array,
    call,
    diagonal,
    every_wing,
    standard_normal,
)


@pytest.fixture
def posterior(wing):
    return diagonal(wing, np.zeros((10, 3)), np.ones((10, 3)))


SHAPES = {
    "no batch axis": (lambda wing: standard_normal(wing, 3), r"single data point has the batch"),
    "not to_event": (lambda wing: DISTRIBUTIONS[wing].Normal(array(wing, np.zeros((10, 3))), 1.0),
                     r"got batch shape \(10, 3\) and event shape \(\); call .to_event\(1\)"),
    "scalars": (lambda wing: DISTRIBUTIONS[wing].Normal(array(wing, np.zeros(10)), 1.0),
                r"shape \(n, 1\) and call .to_event\(1\)"),
    "two batch axes": (lambda wing: diagonal(wing, np.zeros((2, 5, 3)), 1.0),
                       r"got batch shape \(2, 5\)"),
    "no data points": (lambda wing: diagonal(wing, np.zeros((0, 3)), 1.0),
                       r"got batch shape \(0,\)"),
    "no batches": (lambda wing: [], "at least one batch, got none"),
    "batches that differ": (
        lambda wing: [diagonal(wing, np.zeros((2, 3)), 1.0), diagonal(wing, np.zeros((2, 4)), 1.0)],
        r"posterior\[1\]: expected event shape \(3,\), as the batches before, got \(4,\)"),
}  # fmt: skip


@every_wing
@pytest.mark.parametrize("case", SHAPES)
def test_posteriors_of_the_wrong_shape(wing, case):
    make, message = SHAPES[case]
    with pytest.raises(ValueError, match=message):
        call(wing, "elbo_surgery", make(wing), standard_normal(wing, 3))
    with pytest.raises(ValueError, match=message):
        call(wing, "mutual_information", make(wing))
    with pytest.raises(ValueError, match=message):
        SURGERY[wing].aggregate_log_prob(make(wing), array(wing, np.zeros((2, 3))))


@every_wing
@pytest.mark.parametrize("thing", [None, 3.0, [3.0], "posterior"])
def test_posteriors_that_are_none(wing, thing):
    with pytest.raises(TypeError, match=r"posterior(\[0\])?: expected a distribution"):
        call(wing, "mutual_information", thing)


@every_wing
def test_priors_that_do_not_fit(wing, posterior):
    with pytest.raises(TypeError, match="prior: expected a distribution, got float"):
        call(wing, "elbo_surgery", posterior, 1.0)
    with pytest.raises(ValueError, match=r"prior: expected event shape \(3,\).*shape \(\) and"):
        call(wing, "elbo_surgery", posterior, standard_normal(wing, 4))
    loose = DISTRIBUTIONS[wing].Normal(array(wing, np.zeros(3)), 1.0)
    with pytest.raises(ValueError, match=r"got batch shape \(3,\) and event shape \(\); call"):
        call(wing, "marginal_kl", posterior, loose)
    many = diagonal(wing, np.zeros((10, 3)), 1.0)
    with pytest.raises(ValueError, match=r"a single distribution, got batch shape \(10,\)"):
        call(wing, "elbo_surgery", posterior, many)


@every_wing
def test_points_that_do_not_fit(wing, posterior):
    log_prob = SURGERY[wing].aggregate_log_prob
    with pytest.raises(ValueError, match=r"z: expected shape \(..., 3\).*got \(5, 2\)"):
        log_prob(posterior, array(wing, np.zeros((5, 2))))
    bad = np.zeros((5, 3))
    bad[1, 2], bad[3, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match="z: expected finite numbers, got 2 NaN"):
        log_prob(posterior, array(wing, bad))
    with pytest.raises(TypeError, match=r"z: expected floating numbers, got .*int"):
        log_prob(posterior, array(wing, np.zeros((5, 3)), "int32"))


@every_wing
def test_draws_that_are_nan(wing):
    loc = np.zeros((10, 3))
    loc[[4, 7], 1] = np.nan
    loc = array(wing, loc)
    broken = DISTRIBUTIONS[wing].Normal(loc, 1.0, validate_args=False).to_event(1)
    with pytest.raises(ValueError, match=r"NaN or infinite ones at 2 of 10 data points, .* is 4"):
        call(wing, "mutual_information", broken)


SETTINGS = {
    "num_samples": ({"num_samples": 0}, "num_samples: expected an integer >= 1"),
    "method": ({"method": "mine"}, "method: expected one of 'exact', 'bounds', got 'mine'"),
    "mws": ({"method": "mws"}, "minibatch-weighted sampling is off by up to log n"),
    "others with exact": ({"num_others": 3}, 'num_others: expected None with method "exact"'),
    "too many others": ({"method": "bounds", "num_others": 10},
                        "expected at most 9, since there are 10 data points, got 10"),
    "no others": ({"method": "bounds", "num_others": 0}, "num_others: expected an integer >= 1"),
    "limit": ({"memory_limit": 10}, "memory_limit: expected at least .* bytes, for a tile"),
}  # fmt: skip


@every_wing
@pytest.mark.parametrize("case", SETTINGS)
def test_settings_out_of_range(wing, posterior, case):
    options, message = SETTINGS[case]
    with pytest.raises(ValueError, match=message):
        call(wing, "mutual_information", posterior, **options)
    with pytest.raises(ValueError, match=message):
        call(wing, "marginal_kl", posterior, standard_normal(wing, 3), **options)


@every_wing
def test_a_limit_below_one_row_of_a_flow_posterior(wing):
    mixture = DISTRIBUTIONS[wing].LogNormal(array(wing, np.zeros((10, 3))), 1.0).to_event(1)
    with pytest.raises(ValueError, match=r"for one draw against all data points.*smaller batches"):
        call(wing, "mutual_information", mixture, memory_limit=100)


@every_wing
@pytest.mark.parametrize("wrong", [lambda z: z.sum(), lambda z: z, lambda z: z.sum(-1)[0]])
def test_a_likelihood_of_another_shape(wing, posterior, wrong):
    with pytest.raises(ValueError, match=r"log_likelihood: expected one number.* shape \(2"):
        call(wing, "elbo_surgery", posterior, standard_normal(wing, 3), num_samples=2,
             log_likelihood=lambda z, rows: wrong(z))  # fmt: skip


@every_wing
@pytest.mark.parametrize("name", ["progress"])
def test_progress_is_a_switch_and_shows_pairs(wing, posterior, name, capsys):
    with pytest.raises(TypeError, match="progress: expected True or False, got 'yes'"):
        call(wing, "mutual_information", posterior, **{name: "yes"})
    call(wing, "mutual_information", posterior, progress=True)
    assert "100/100" in capsys.readouterr().err
    call(wing, "mutual_information", posterior, progress=True, method="bounds", num_others=4)
    assert "40/40" in capsys.readouterr().err
