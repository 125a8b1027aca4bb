"""Recipes refuse arguments out of range and say what they got and what they expected."""

import numpy as np
import pytest

from flowkit_core import recipes as r

every_coupling = pytest.mark.parametrize("recipe", [r.realnvp, r.nice], ids=["realnvp", "nice"])


REFUSED = {
    "no layers": (lambda f: f(3, num_layers=0), ValueError, "num_layers: .* >= 1, got 0"),
    "half a layer": (lambda f: f(3, num_layers=1.5), TypeError, r"an integer, got 1\.5"),
    "no dimension": (lambda f: f(0), ValueError, "input_dim: .* >= 1, got 0"),
    "dimension True": (lambda f: f(True), TypeError, "input_dim: .*, got True"),
    "mixing": (lambda f: f(3, mixing="swap"), ValueError, "mixing: .*'none', .*got 'swap'"),
    "mixing none": (lambda f: f(3, mixing=None), ValueError, "mixing: .*got None"),
    "seed": (lambda f: f(3, seed=-1), ValueError, "seed: .* >= 0, got -1"),
    "seed none": (lambda f: f(3, seed=None), TypeError, "seed: .* integer, got None"),
    "widths": (lambda f: f(3, hidden_dims=64), TypeError, "hidden_dims: .* sequence, got 64"),
    "context": (lambda f: f(3, context_dim=-1), ValueError, "context_dim: .* >= 0, got -1"),
    "activation": (lambda f: f(3, activation="x"), ValueError, "activation: .* 'relu'.*, got 'x'"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("recipe", [r.maf, r.iaf, r.realnvp, r.nice], ids=lambda f: f.__name__)
def test_arguments_out_of_range_are_refused(recipe, case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call(recipe)


BAD_MASKS = {
    "name": ("odd", ValueError, "mask: .*'alternating', 'half', got 'odd'"),
    "numbers": ([1, 0, 1], TypeError, r"mask\[0\]: expected True or False, got 1"),
    "all true": ([True] * 3, ValueError, "both True and False entries, got all True"),
    "all false": ([False] * 3, ValueError, "both True and False entries, got all False"),
    "short": ([True, False], ValueError, "mask: expected 3 entries, got 2"),
    "table": (np.ones((3, 3), dtype=bool), ValueError, "mask: expected one dimension, got 2"),
    "number": (3, TypeError, "mask: expected a sequence, got 3"),
}


@pytest.mark.parametrize("case", BAD_MASKS)
@every_coupling
def test_masks_that_do_not_fit_are_refused(recipe, case):
    mask, error, message = BAD_MASKS[case]
    with pytest.raises(error, match=message):
        recipe(3, mask=mask)


def test_orders_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="order: expected 3 indices, got 2"):
        r.permute(3, order=(1, 0))
    with pytest.raises(ValueError, match=r"each of 0 \.\. 2 exactly once, got \(0, 2, 2\)"):
        r.permute(3, order=(0, 2, 2))
    with pytest.raises(TypeError, match="order: expected a sequence, got 2"):
        r.permute(3, order=2)


@pytest.mark.parametrize("recipe", [r.maf, r.iaf, r.realnvp], ids=lambda f: f.__name__)
def test_an_unknown_law_is_refused_with_the_known_ones(recipe):
    with pytest.raises(ValueError, match=r"law: expected one of .*'affine'.*, got 'cubic'"):
        recipe(3, law="cubic")


@pytest.mark.parametrize("recipe", [r.maf, r.iaf], ids=["maf", "iaf"])
@pytest.mark.parametrize("inverse", ["newton", None, True])
def test_an_unknown_way_to_invert_is_refused(recipe, inverse):
    expected = f"inverse: .*'auto', 'sweep', 'fixed_point', got {inverse!r}"
    with pytest.raises(ValueError, match=expected):
        recipe(3, inverse=inverse)


OUT_OF_RANGE = {
    "rank zero": (lambda: r.low_rank_linear(3, rank=0), ValueError, "rank: .* >= 1, got 0"),
    "rank above D": (
        lambda: r.low_rank_linear(3, rank=4), ValueError, "rank: .*most input_dim=3, got 4"
    ),
    "rank half": (lambda: r.low_rank_linear(3, rank=1.5), TypeError, "rank: .*integer, got 1.5"),
    "odd reflections": (
        lambda: r.householder_linear(3, num_reflections=3),
        ValueError, "num_reflections: expected an even number, since an odd product .* got 3",
    ),
    "no reflection": (
        lambda: r.householder_linear(3, num_reflections=0),
        ValueError, "num_reflections: .* >= 1, got 0",
    ),
    "momentum zero": (lambda: r.batch_norm(3, momentum=0), ValueError, "momentum: .* > 0, got 0"),
    "momentum large": (
        lambda: r.batch_norm(3, momentum=2.0), ValueError, r"momentum: .*\(0, 1\], got 2.0"
    ),
    "eps": (lambda: r.batch_norm(3, eps=-1e-5), ValueError, "eps: .* > 0, got -1e-05"),
    "alpha zero": (lambda: r.logit(3, alpha=0.0), ValueError, "alpha: .* > 0, got 0.0"),
    "alpha half": (lambda: r.logit(3, alpha=0.5), ValueError, "between 0 and 0.5, got 0.5"),
    "alpha text": (lambda: r.logit(3, alpha="x"), TypeError, "alpha: expected a number, got 'x'"),
    "logit inside": (
        lambda: r.compose(r.logit(2), r.lu_linear(2)),
        ValueError, r"layers\[0\]: its data side is an interval.*expected it to be the last",
    ),
    "logit within a composition inside": (
        lambda: r.compose(r.compose(r.lu_linear(2), r.logit(2)), r.lu_linear(2)),
        ValueError, r"layers\[0\]: its data side is an interval",
    ),
    "volume of splines": (
        lambda: r.realnvp(3, law="spline", volume_preserving=True),
        ValueError, "volume_preserving: .*'affine'.*got 'spline', whose slope changes",
    ),
    "volume and lu": (
        lambda: r.realnvp(3, mixing="lu", volume_preserving=True),
        ValueError, "volume_preserving: expected mixing .*got 'lu', whose layers change the volume",
    ),
    "volume a number": (
        lambda: r.realnvp(3, volume_preserving=1),
        TypeError, "volume_preserving: expected True or False, got 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OUT_OF_RANGE)
def test_layers_refuse_what_they_cannot_be(case):
    make, error, message = OUT_OF_RANGE[case]
    with pytest.raises(error, match=message):
        make()
