"""Recipes: which layers each argument yields."""

import inspect
from itertools import pairwise

import numpy as np
import pytest

from flowkit_core import recipes as r
from flowkit_core.numerics import LAYER_LOG_SCALE, TOTAL_LOG_SCALE, log_scale_bound
from flowkit_core.recipes.mixing import MIXINGS
from flowkit_core.specs import (
    AdditiveLaw,
    AffineLaw,
    ComposeSpec,
    CouplingSpec,
    DiagonalAffineSpec,
    InverseAutoregressiveSpec,
    LULinearSpec,
    MaskedAutoregressiveSpec,
    PermutationSpec,
    QRLinearSpec,
    TriangularAffineSpec,
)

AUTOREGRESSIVE = {"maf": MaskedAutoregressiveSpec, "iaf": InverseAutoregressiveSpec}
every_autoregressive = pytest.mark.parametrize("name", AUTOREGRESSIVE)
every_coupling = pytest.mark.parametrize("recipe", [r.realnvp, r.nice], ids=["realnvp", "nice"])

# The public face, argument by argument: (name, default), all keyword-only but the first.
AUTOREGRESSIVE_ARGUMENTS = [
    ("num_layers", 5), ("hidden_dims", (128, 128)), ("context_dim", 0), ("activation", "relu"),
    ("residual", False), ("mixing", "reverse"), ("law", "affine"), ("inverse", "auto"), ("seed", 0),
]  # fmt: skip
COUPLING_ARGUMENTS = [
    ("num_layers", 8), ("hidden_dims", (64, 64)), ("context_dim", 0), ("activation", "relu"),
    ("mask", "alternating"), ("mixing", "none"), ("law", "affine"), ("volume_preserving", False),
    ("seed", 0),
]  # fmt: skip
ARGUMENTS = {
    "maf": AUTOREGRESSIVE_ARGUMENTS,
    "iaf": AUTOREGRESSIVE_ARGUMENTS,
    "realnvp": COUPLING_ARGUMENTS,
    "nice": [a for a in COUPLING_ARGUMENTS if a[0] not in ("law", "volume_preserving")],
    "lu_linear": [],
    "qr_linear": [],
    "diagonal_linear": [],
    "triangular_linear": [],
    "householder_linear": [("num_reflections", inspect.Parameter.empty)],
    "low_rank_linear": [("rank", inspect.Parameter.empty)],
    "act_norm": [("started", False)],
    "batch_norm": [("momentum", 0.1), ("eps", 1e-5)],
    "logit": [("alpha", 0.05)],
    "permute": [("order", inspect.Parameter.empty)],
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_and_defaults_are_the_promised_ones(name):
    first, *others = inspect.signature(getattr(r, name)).parameters.values()
    assert (first.name, first.default) == ("input_dim", inspect.Parameter.empty)
    assert [(p.name, p.default) for p in others] == ARGUMENTS[name]
    assert {p.kind for p in others} <= {inspect.Parameter.KEYWORD_ONLY}


def orders(spec):
    return [layer.order for layer in spec.layers if hasattr(layer, "order")]


def masks(spec):
    """The masks of the coupling layers as strings, True as 1."""
    couplings = [layer for layer in spec.layers if isinstance(layer, CouplingSpec)]
    return ["".join("01"[m] for m in layer.mask) for layer in couplings]


@every_autoregressive
def test_an_autoregressive_flow_has_that_many_layers_of_its_kind(name):
    spec = getattr(r, name)(
        4, num_layers=3, hidden_dims=(7, 7), activation="elu", context_dim=2, residual=True
    )
    assert isinstance(spec, ComposeSpec)
    assert [type(layer) for layer in spec.layers] == [AUTOREGRESSIVE[name]] * 3
    nets = {layer.conditioner for layer in spec.layers}
    assert len(nets) == 1
    net = nets.pop()
    assert (net.hidden_dims, net.activation, net.context_dim) == ((7, 7), "elu", 2)
    assert (net.residual, net.input_dim, net.num_params) == (True, 4, 2)
    assert (spec.sequential_forward, spec.sequential_inverse) == (name == "maf", name == "iaf")


@every_autoregressive
def test_orders_follow_the_mixing(name):
    recipe = getattr(r, name)
    natural, reverse = (0, 1, 2), (2, 1, 0)
    assert orders(recipe(3, num_layers=3, mixing="none")) == [natural] * 3
    assert orders(recipe(3, num_layers=3)) == [natural, reverse, natural]
    assert orders(recipe(3, num_layers=3, mixing="lu")) == [natural] * 3
    random = orders(recipe(9, num_layers=6, mixing="random"))
    assert len(set(random)) == 6
    assert all(sorted(order) == list(range(9)) for order in random)


@every_autoregressive
def test_lu_layers_stand_between_neighbours(name):
    layers = getattr(r, name)(3, num_layers=3, mixing="lu").layers
    kind = AUTOREGRESSIVE[name]
    assert [type(layer) for layer in layers] == [kind, LULinearSpec, kind, LULinearSpec, kind]
    assert len(getattr(r, name)(3, num_layers=1, mixing="lu").layers) == 1


@every_coupling
def test_coupling_layers_swap_roles(recipe):
    spec = recipe(5, num_layers=4, hidden_dims=(6,), activation="tanh", context_dim=3)
    assert masks(spec) == ["10101", "01010", "10101", "01010"]
    for layer in spec.layers[:4]:
        net = layer.conditioner
        assert (net.hidden_dims, net.activation, net.context_dim) == ((6,), "tanh", 3)
        assert net.num_inputs == sum(layer.mask)
    assert not spec.sequential_forward
    assert not spec.sequential_inverse


@every_coupling
def test_masks_by_name_and_by_value(recipe):
    assert masks(recipe(5, num_layers=3, mask="half")) == ["11100", "00011", "11100"]
    given = np.array([True, False, False])
    assert masks(recipe(3, num_layers=3, mask=given)) == ["100", "011", "100"]
    assert masks(recipe(3, num_layers=2, mask=[False, True, True])) == ["011", "100"]
    assert given.tolist() == [True, False, False]


@every_coupling
def test_masks_follow_the_mixing(recipe):
    reverse = masks(recipe(5, num_layers=6, mask="half", mixing="reverse"))
    assert reverse == ["11100", "00011", "00111", "11000", "11100", "00011"]
    random = masks(recipe(20, num_layers=8, mask="half", mixing="random"))
    assert all(mask.count("1") == 10 for mask in random)
    firsts, seconds = random[::2], random[1::2]
    assert len(set(firsts)) == 4
    for one, two in zip(firsts, seconds, strict=True):
        assert all(a != b for a, b in zip(one, two, strict=True))


@every_coupling
def test_lu_layers_stand_between_pairs(recipe):
    kinds = [layer.kind for layer in recipe(3, num_layers=5, mixing="lu").layers]
    pair = ["coupling", "coupling"]
    assert kinds[:7] == [*pair, "lu_linear", *pair, "lu_linear", "coupling"]
    assert kinds[7:] == ([] if recipe is r.realnvp else ["diagonal_affine"])


def test_nice_is_additive_with_a_final_scale():
    spec = r.nice(4, num_layers=3)
    assert [layer.law for layer in spec.layers[:-1]] == [AdditiveLaw()] * 3
    assert spec.layers[-1] == DiagonalAffineSpec(4)


@pytest.mark.parametrize("recipe", [r.maf, r.iaf, r.realnvp], ids=lambda f: f.__name__)
@pytest.mark.parametrize("num_layers", [1, 2, 8, 9, 32])
def test_the_named_laws_and_their_bound(recipe, num_layers):
    laws = {layer.law for layer in recipe(3, num_layers=num_layers).layers}
    assert laws == {AffineLaw(bound=min(2.0, 16.0 / num_layers))}
    additive = recipe(3, num_layers=num_layers, law="additive").layers
    assert {layer.law for layer in additive} == {AdditiveLaw()}
    assert {layer.conditioner.num_params for layer in additive if hasattr(layer, "order")} <= {1}


def test_the_bound_falls_with_depth():
    bounds = [log_scale_bound(k) for k in range(1, 200)]
    assert bounds[0] == LAYER_LOG_SCALE
    assert all(a >= b > 0 for a, b in pairwise(bounds))
    assert max(k * bound for k, bound in enumerate(bounds, 1)) <= TOTAL_LOG_SCALE
    assert bounds[-1] == TOTAL_LOG_SCALE / 199


SEEDED = [(r.maf, 8), (r.iaf, 8), (r.realnvp, 12), (r.nice, 12)]


@pytest.mark.parametrize(("recipe", "dim"), SEEDED, ids=lambda f: getattr(f, "__name__", f))
def test_the_seed_alone_decides_random_orders(recipe, dim):
    np.random.seed(0)  # noqa: NPY002
    one = recipe(dim, mixing="random", seed=1)
    np.random.seed(1)  # noqa: NPY002
    assert recipe(dim, mixing="random", seed=1) == one
    assert recipe(dim, mixing="random", seed=2) != one
    assert recipe(dim, mixing="none", seed=1) == recipe(dim, mixing="none", seed=2)


@pytest.mark.parametrize("mixing", MIXINGS)
@pytest.mark.parametrize("context_dim", [0, 2])
@pytest.mark.parametrize("recipe", [r.maf, r.iaf, r.realnvp, r.nice], ids=lambda f: f.__name__)
def test_one_coordinate_works(recipe, context_dim, mixing):
    spec = recipe(1, num_layers=3, hidden_dims=(4,), context_dim=context_dim, mixing=mixing)
    assert (spec.input_dim, spec.context_dim) == (1, context_dim)
    assert all(layer.mask == (False,) for layer in spec.layers if isinstance(layer, CouplingSpec))


def test_linear_recipes():
    assert r.lu_linear(3) == LULinearSpec(3)
    assert r.qr_linear(3) == QRLinearSpec(3)
    assert r.diagonal_linear(3) == DiagonalAffineSpec(3)
    assert r.triangular_linear(3) == TriangularAffineSpec(3)
    assert r.permute(3, order=[2, 0, 1]) == PermutationSpec((2, 0, 1))
    assert r.permute(3, order=np.array([2, 0, 1])) == PermutationSpec((2, 0, 1))


def test_numbers_of_parameters_are_those_counted_by_hand():
    # (1) weights and biases of 3 -> 5 -> 2 * 3, (2) one free log-scale per coordinate, two layers.
    assert r.maf(3, num_layers=2, hidden_dims=(5,)).num_parameters == 2 * (20 + 36 + 3)
    # As above with 2 context columns into 5 units, and one LU layer: two 3 x 3, two vectors.
    with_lu = r.iaf(3, num_layers=2, hidden_dims=(5,), context_dim=2, mixing="lu")
    assert with_lu.num_parameters == 2 * (20 + 36 + 3 + 10) + 24
    # Two residual blocks of two layers 4 -> 4 between 2 -> 4 and 4 -> 4.
    residual = r.maf(2, num_layers=1, hidden_dims=(4, 4), residual=True)
    assert residual.num_parameters == 12 + 4 * 20 + 20 + 2
    # Layer 1: 2 -> 4 -> 2 * 1, 1 free. Layer 2: 1 -> 4 -> 2 * 2, 2 free.
    assert r.realnvp(3, num_layers=2, hidden_dims=(4,)).num_parameters == (22 + 1) + (28 + 2)
    # The same with one output per coordinate and nothing free; then scale and shift of 3.
    assert r.nice(3, num_layers=2, hidden_dims=(4,)).num_parameters == 17 + 18 + 6
    assert r.qr_linear(5).num_parameters == 60
    assert r.permute(2, order=(1, 0)).num_parameters == 0
    # Four vectors and a shift of 5; two (5, 2), one (2, 2), and 2 + 5 + 5 numbers.
    assert r.householder_linear(5, num_reflections=4).num_parameters == 25
    assert r.low_rank_linear(5, rank=2).num_parameters == 36
    assert r.batch_norm(5).num_parameters == 20
    assert r.logit(5).num_parameters == 0
