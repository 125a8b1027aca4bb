"""Fits in several processes: two of them, joined by gloo, take the steps of one."""

import numpy as np
import pytest
import torch

from pyro_flowkit import AutoIAF, fit_guide
from tests.pyro import shared_fits
from tests.pyro.processes import in_processes


def assert_same_weights(one, two, rtol=0.0):
    one, two = (w if isinstance(w, dict) else dict(enumerate(w)) for w in (one, two))
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_allclose(values, two[name], rtol=rtol, atol=rtol, err_msg=str(name))


class Both:
    """The objective of two processes in one: each one's draws come from a stream of its own."""

    def __init__(self, objective):
        self.objective, self.parameters = objective, objective.parameters
        self.states = None

    def seed(self, numbers):
        seeds = [np.random.SeedSequence((*numbers, r)).generate_state(1, np.uint64) for r in (0, 1)]
        generators = [torch.Generator().manual_seed(int(s[0]) % 2**63) for s in seeds]
        self.states = [generator.get_state() for generator in generators]

    def loss(self, count, *, path_gradient):
        total = 0
        for rank, state in enumerate(self.states):
            torch.set_rng_state(state)
            total = total + self.objective.loss(count // 2, path_gradient=path_gradient) / 2
            self.states[rank] = torch.get_rng_state()
        return total


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What the functions of `shared_fits` returned in both processes; the folder; what was told."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "damaged").write_bytes(b"damaged")
    found, told = in_processes(shared_fits.everything, folder)
    pairs = {name: [both[name] for both in found] for name in found[0]}
    return pairs, folder, told


@pytest.fixture
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_double")
def test_two_processes_take_the_steps_that_one_takes_with_the_draws_of_both(shared):
    first, second = shared[0]["trained"]
    both = None

    def wrap(objective):
        nonlocal both
        both = Both(objective)
        return both

    trainer = shared_fits.make_trainer(None, wrap)
    for path, (weights, losses, skipped) in enumerate(first):
        both.seed((3, path))
        expected, expected_losses, _ = shared_fits.steps(trainer, bool(path))
        assert_same_weights(weights, second[path][0])
        np.testing.assert_array_equal(losses, second[path][1])
        assert_same_weights(weights, expected, rtol=1e-12)
        np.testing.assert_allclose(losses, expected_losses, rtol=1e-12)
        assert skipped == 0


def assert_reached(result):
    mean, sd, evidence = shared_fits.exact()
    assert result["elbo"] == pytest.approx(evidence, abs=0.02)
    assert result["mean"] == pytest.approx(mean, abs=0.1 * sd)
    assert result["sd"] == pytest.approx(sd, rel=0.1)


def test_they_share_particles_and_end_alike_at_the_posterior(shared):
    pairs, _, told = shared
    first, second = pairs["shared_particles"]
    assert_reached(first)
    assert_same_weights(first.pop("weights"), second.pop("weights"))
    assert first == second
    assert ["step" in text for text in told] == [True, False]  # of the progress bar


def test_they_share_rows_of_the_data(shared):
    first, second = shared[0]["shared_rows"]
    assert_reached(first)
    assert_same_weights(first.pop("weights"), second.pop("weights"))
    assert first == second


def test_a_fit_goes_on_from_the_checkpoint_of_the_first(shared):
    pairs, folder, _ = shared
    for whole, resumed in pairs["interrupted"]:
        assert_same_weights(whole["weights"], resumed["weights"])
        assert whole["losses"] == resumed["losses"]
    assert (folder / "state0").exists()
    assert not (folder / "state1").exists()


def test_what_cannot_be_shared_is_refused_in_every_process(shared):
    first, second = shared[0]["refused"]
    assert first == second
    assert first[0].startswith("num_particles: expected a multiple of 2, the number of processes")
    assert first[1].startswith("settings: expected the same in every process, got ")
    assert "damaged" in first[2]


def test_something_else_than_a_group_is_refused():
    guide = AutoIAF(shared_fits.gaussian)
    with pytest.raises(TypeError, match="process_group: expected a torch"):
        fit_guide(shared_fits.gaussian, guide, torch.arange(8), process_group="gloo")


@pytest.mark.usefixtures("_double")
def test_torchs_own_wrapper_takes_a_module_with_a_flow(shared):
    first, second = shared[0]["in_ddp"]
    assert_same_weights(first, second)
    assert_same_weights(first, shared_fits.in_ddp(None, None), rtol=1e-9)
