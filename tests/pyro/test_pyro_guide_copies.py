"""Copies, pickles and stored weights of guides."""

import copy
import io
import pickle

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoGuideList, AutoNormal

from tests.pyro import models
from tests.pyro import normal_guides as normal
from tests.pyro.helpers import SMALL

NAMED = {"maf": normal.AutoMAF, "iaf": normal.AutoIAF, "realnvp": normal.AutoRealNVP}
every_guide = pytest.mark.parametrize("name", NAMED)


def make(name, **kwargs):
    return NAMED[name](models.hierarchy, **{**SMALL, **kwargs})


def train(guide, steps=15, seed=4):
    pyro.set_rng_seed(seed)
    elbo = Trace_ELBO(num_particles=4, vectorize_particles=True)
    svi = SVI(models.hierarchy, guide, pyro.optim.Adam({"lr": 0.02}), elbo)
    return [svi.step() for _ in range(steps)]


def through_torch(guide):
    file = io.BytesIO()
    torch.save(guide, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda guide: pickle.loads(pickle.dumps(guide)),
    "torch.save": through_torch,
}
every_copy = pytest.mark.parametrize("kind", COPIES)


def assert_same_quantiles(one, two):
    levels = [0.05, 0.5, 0.95]
    torch.testing.assert_close(one.quantiles(levels), two.quantiles(levels), rtol=0, atol=0)


@every_guide
@every_copy
def test_a_copy_of_a_trained_guide_has_its_quantiles(name, kind):
    guide = make(name)
    train(guide)
    assert_same_quantiles(COPIES[kind](guide), guide)


@every_guide
@every_copy
def test_a_copy_of_a_guide_that_was_called_once_has_its_quantiles(name, kind):
    guide = make(name)
    guide()
    assert_same_quantiles(COPIES[kind](guide), guide)


@every_guide
@every_copy
def test_a_copy_made_before_the_first_call_starts_like_the_original(name, kind):
    guide = make(name)
    again = COPIES[kind](guide)
    pyro.set_rng_seed(1)
    guide()
    pyro.set_rng_seed(1)
    pyro.clear_param_store()
    again()
    assert_same_quantiles(again, guide)


@every_guide
@every_copy
@pytest.mark.parametrize("called", [False, True])
def test_the_live_guide_keeps_its_model(name, kind, called):
    guide = make(name)
    if called:
        guide()
    model = guide.model
    COPIES[kind](guide)
    assert guide.model is model
    assert len(train(guide, 2)) == 2


@every_guide
def test_a_deepcopy_trains_itself_and_not_the_original(name):
    guide = make(name)
    train(guide, 3)
    again = copy.deepcopy(guide)
    before = {n: p.detach().clone() for n, p in guide.named_parameters()}
    train(again, 10)
    assert all(torch.equal(p, before[n]) for n, p in guide.named_parameters())
    moved = [(p - before[n]).abs().max() for n, p in again.named_parameters()]
    assert max(moved) > 1e-2


@every_guide
def test_a_deepcopy_trains_like_the_original(name):
    guide = make(name)
    train(guide, 3)
    again = copy.deepcopy(guide)
    assert train(again, 8) == train(guide, 8)


@every_guide
def test_a_deepcopy_has_the_originals_model(name):
    guide = make(name)
    guide()
    again = copy.deepcopy(guide)
    assert again._bare_model[0] is models.hierarchy


@every_guide
def test_a_pickled_guide_still_scores(name):
    guide = make(name)
    train(guide)
    again = COPIES["pickle"](guide)
    pyro.clear_param_store()
    pyro.set_rng_seed(3)
    expected = Trace_ELBO().loss(models.hierarchy, guide)
    pyro.clear_param_store()
    pyro.set_rng_seed(3)
    assert Trace_ELBO().loss(models.hierarchy, again) == expected


@every_guide
def test_a_guide_made_after_loading_the_store_takes_its_weights(name, tmp_path):
    guide = make(name)
    train(guide)
    pyro.get_param_store().save(tmp_path / "store.pt")
    pyro.clear_param_store()
    pyro.get_param_store().load(tmp_path / "store.pt")
    again = make(name)
    again()
    assert_same_quantiles(again, guide)


@every_guide
def test_a_guide_made_after_loading_goes_on_training(name, tmp_path):
    guide = make(name)
    losses = train(guide, 20)
    pyro.get_param_store().save(tmp_path / "store.pt")
    pyro.clear_param_store()
    pyro.get_param_store().load(tmp_path / "store.pt")
    again = make(name)
    more = train(again, 20, seed=5)
    assert sum(more[:5]) < sum(losses[:5])
    assert (
        max(
            (a - b).abs().max() for a, b in zip(again.parameters(), guide.parameters(), strict=True)
        )
        > 1e-3
    )


@every_guide
def test_a_store_of_another_architecture_is_refused(name):
    train(make(name), 2)
    with pytest.raises(ValueError, match=r"parameter store holds .* of another guide"):
        make(name, hidden_dims=(5,))()


@every_guide
def test_state_dict_moves_weights_between_guides(name):
    guide = make(name)
    train(guide)
    pyro.clear_param_store()
    other = make(name)
    other()
    other.load_state_dict(guide.state_dict())
    assert_same_quantiles(other, guide)


def listed(flow_guide):
    guides = AutoGuideList(models.hierarchy)
    guides.append(flow_guide(poutine.block(models.hierarchy, hide=["theta"])))
    guides.append(AutoNormal(poutine.block(models.hierarchy, expose=["theta"])))
    return guides


def test_autoguidelist_trains_a_flow_guide_beside_another():
    guide = listed(lambda model: normal.AutoIAF(model, **SMALL))
    svi = SVI(models.hierarchy, guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO(num_particles=4))
    losses = [svi.step() for _ in range(30)]
    assert sum(losses[-8:]) < sum(losses[:8])


def test_autoguidelist_has_median_and_quantiles():
    guide = listed(lambda model: normal.AutoMAF(model, **SMALL))
    guide()
    assert {k: v.shape for k, v in guide.median().items()} == {
        "mu": (), "tau": (), "theta": (3,)
    }  # fmt: skip
    assert {k: len(v) for k, v in guide.quantiles([0.1, 0.9]).items()} == {
        "mu": 2, "tau": 2, "theta": 2
    }  # fmt: skip


def test_two_flow_guides_in_one_list_keep_their_own_weights():
    guides = AutoGuideList(models.hierarchy)
    guides.append(normal.AutoIAF(poutine.block(models.hierarchy, hide=["theta"]), **SMALL))
    guides.append(normal.AutoRealNVP(poutine.block(models.hierarchy, expose=["theta"]), **SMALL))
    svi = SVI(models.hierarchy, guides, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO(num_particles=4))
    losses = [svi.step() for _ in range(20)]
    stored = pyro.get_param_store()
    assert sum(losses[-5:]) < sum(losses[:5])
    assert len(stored) == len(list(guides.parameters()))
