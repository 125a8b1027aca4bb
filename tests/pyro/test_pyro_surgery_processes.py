"""Surgery in four processes, joined by gloo: what one process finds with all the data."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from flowkit_core.surgery import SurgerySettings
from pyro_flowkit import aggregate_log_prob, elbo_surgery
from pyro_flowkit.surgery.draws import surgery_of_draws
from pyro_flowkit.surgery.posterior import Posterior
from pyro_flowkit.surgery.shards import own_stream
from tests.pyro import shared_surgery as shared
from tests.pyro.processes import in_processes

# Terms relative to the largest are float32 in the product of Gaussians.
TOLERANCES = {"diagonal": 2e-7, "full": 2e-7, "flow": 1e-12}


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """What each process found, and what was told on standard error."""
    return in_processes(shared.everything, tmp_path_factory.mktemp("four"), 4)


@pytest.mark.parametrize("index", range(3), ids=shared.KINDS)
def test_densities_and_gradients_are_those_of_one_process(four, index):
    kind = shared.KINDS[index]
    values, gradients = shared.densities(kind, shared.EVERYTHING, shared.EVERYTHING)
    found = [each["densities"][index] for each in four[0]]
    tolerance = TOLERANCES[kind]
    np.testing.assert_allclose(np.concatenate([v for v, _ in found]), values, atol=tolerance)
    for name in ("loc", "scale", "z"):
        parts = [g[name] for _, g in found if g[name] is not None]
        np.testing.assert_allclose(np.concatenate(parts), gradients[name], atol=20 * tolerance)
    if kind == "flow":  # which all of them have: the gradient of the sum is the sum
        total = sum(g["flow"] for _, g in found if g["flow"] is not None)
        np.testing.assert_allclose(total, gradients["flow"], atol=1e-10)


def test_gradients_go_where_they_are_wanted(four):
    _, gradients = shared.densities("diagonal", shared.EVERYTHING, shared.EVERYTHING)
    by_points = [each["by points"][1] for each in four[0]]
    found = np.concatenate([g["z"] for g in by_points if g["z"] is not None])
    np.testing.assert_allclose(found, gradients["z"], atol=1e-5)
    assert all(g["loc"] is None for g in by_points)
    by_one = [each["by one"][1]["loc"] for each in four[0]]
    assert [g is None for g in by_one] == [True, True, False, True]
    np.testing.assert_allclose(by_one[2], gradients["loc"][shared.ROWS[2]], atol=1e-5)


class Stream:
    """The stream of one process, here."""

    def __init__(self, rank, seed):
        self.generator = torch.Generator().manual_seed(seed)
        self.group = SimpleNamespace(size=4, rank=rank, gathered=lambda own: [own])

    def lent(self):
        return own_stream(self.generator, self.group)


@torch.no_grad()
def in_one(parts, num_samples, seed, method="exact", num_others=None, likelihood=None):
    """Surgery in this process of what the streams of four draw."""
    draws = []
    for rank, part in list(enumerate(parts))[1:]:
        with Stream(rank, seed).lent():
            draws.append(Posterior(part).sample(num_samples))
    z = torch.cat(draws, 1)
    settings = SurgerySettings(num_samples, method, num_others, 2**26, False)
    rows = Posterior(parts[1:])
    with Stream(0, seed).lent():  # the first one has no data, and shuffles
        return surgery_of_draws(
            rows, z, shared.PRIOR.log_prob(z),
            None if likelihood is None else likelihood(z, slice(None)), settings,
        )  # fmt: skip


def assert_same(found, expected, tolerance):
    for name, part in expected.to_dict().items():
        got = found.to_dict()[name]
        flat = [part] if not isinstance(part, dict) else list(part.values())
        mine = [got] if not isinstance(got, dict) else list(got.values())
        for one, other in zip(mine, flat, strict=True):
            one, other = (v if isinstance(v, dict) else {"": v} for v in (one, other))
            assert one == pytest.approx(other, abs=tolerance), name
    np.testing.assert_array_equal(found.draws, expected.draws)
    np.testing.assert_allclose(found.means, expected.means, atol=1e-14)


@pytest.mark.parametrize("kind", shared.KINDS)
def test_surgery_is_that_of_one_process_and_the_same_in_all(four, kind):
    first, *others = [each["surgeries"][kind] for each in four[0]]
    assert all(found == first for found in others)
    loc, scale, _ = shared.numbers()
    flow = shared.flow()
    parts = [shared.posterior_of(kind, loc[rows], scale[rows], flow) for rows in shared.ROWS]
    exact = in_one(parts, 3, 4, likelihood=shared.likelihood_of(shared.EVERYTHING))
    bounds = in_one(parts, 3, 4, "bounds", 4)
    assert_same(first[0], exact, TOLERANCES[kind])
    assert_same(first[1], bounds, 1e-10)
    assert first[2].value == pytest.approx(exact.marginal_kl.value, abs=TOLERANCES[kind])
    assert first[3].value == pytest.approx(exact.mutual_information.value, abs=TOLERANCES[kind])
    # Seeded alike, the processes' own draws differ all the same.
    noise = (first[4].draws - loc.numpy()) / scale.numpy()
    assert len(np.unique(noise.round(6))) > 30


def test_surgery_of_a_model_is_that_of_one_process(four):
    first, *others = [each["read off"] for each in four[0]]
    assert all(found == first for found in others)
    assert (first.num_data, first.num_samples, first.dim) == (20, 2, 2)
    assert [("pairs" in text) for text in four[1]] == [True, False, False, False]
    z = torch.from_numpy(first.draws)
    x = shared.numbers()[0]
    own = torch.distributions.Normal(x / 2, 0.5).log_prob(z).sum(-1)
    np.testing.assert_array_equal(first.means, x.numpy() / 2)
    assert abs(first.avg_kl.value - float((own - shared.PRIOR.log_prob(z)).mean())) < 1.0
    assert first.avg_kl.value == pytest.approx(
        first.mutual_information.value + first.marginal_kl.value, abs=1e-12
    )


def test_what_cannot_be_done_in_one_is_refused_in_all(four):
    first, *others = [each["refusals"] for each in four[0]]
    assert all(told == first for told in others)
    expected = [
        "ValueError: z: expected finite numbers, got 4 NaN",
        "ValueError: posterior: expected data points, and one event shape in all processes, got 20",
        "ValueError: posterior: expected data points, and one event shape in all processes, got 0",
        "TypeError: posterior: expected a distribution or an iterable of them, got int",
        "ValueError: no likelihood here",
        "ValueError: settings: expected the same in every process, got (1, 'exact', None",
        "ValueError: z: expected one dtype and type of device in every process, got",
    ]
    for told, start in zip(first, expected, strict=True):
        assert told.startswith(start)


def test_something_else_than_a_group_is_refused():
    loc, scale, z = shared.numbers()
    posterior = shared.posterior_of("diagonal", loc, scale, None)
    for call in (
        lambda: aggregate_log_prob(posterior, z, process_group=4),
        lambda: elbo_surgery(posterior, shared.PRIOR, process_group=4),
    ):
        with pytest.raises(TypeError, match="process_group: expected a torch"):
            call()
