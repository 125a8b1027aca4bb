"""Bad input: one clear error of the documented type, or the sensible result."""

import math

import numpy as np
import pytest
import torch

import pyro_flowkit as fk
from tests.pyro.helpers import CONDITIONAL, RECIPES, SMALL, large, layer, points

every_recipe = pytest.mark.parametrize("name", RECIPES)
every_recipe_with_weights = pytest.mark.parametrize("name", [n for n in RECIPES if n != "permute"])
METHODS = {
    "forward_and_log_det": lambda flow, x: flow.forward_and_log_det(x),
    "inverse_and_log_det": lambda flow, x: flow.inverse_and_log_det(x),
    "forward_and_score": lambda flow, x: flow.forward_and_score(x, x),
    "call": lambda flow, x: flow(x),
    "inv": lambda flow, x: flow.inv(x),
    "log_abs_det_jacobian": lambda flow, x: flow.log_abs_det_jacobian(x, x),
    "log_prob": lambda flow, x: fk.FlowDistribution(flow, validate_args=False).log_prob(x),
}
every_method = pytest.mark.parametrize("method", METHODS)


@every_recipe
@every_method
@pytest.mark.parametrize("shape", [(5, 3), (4, 1), (5,), ()], ids=str)
def test_a_wrong_last_dimension_is_refused(name, method, shape):
    with pytest.raises(ValueError, match=r"expected shape \(\.\.\., 4\), got"):
        METHODS[method](large(RECIPES[name](4)), points(*shape))


@every_recipe
@every_method
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex128])
def test_numbers_that_are_not_floating_are_refused(name, method, dtype):
    values = torch.ones(5, 4, dtype=dtype)
    with pytest.raises(TypeError, match=r"expected .*, the flow's, got|expected a floating dtype"):
        METHODS[method](large(RECIPES[name](4)), values)


@every_recipe_with_weights
@every_method
def test_another_precision_is_refused_with_the_way_out(name, method):
    with pytest.raises(TypeError, match=r"expected torch.float64.*got torch.float32.*flow.to"):
        METHODS[method](large(RECIPES[name](4)), points(5, 4, dtype=torch.float32))


@every_recipe
@every_method
def test_another_device_is_refused_with_the_way_out(name, method):
    values = torch.zeros(5, 4, dtype=torch.float64, device="meta")
    with pytest.raises(ValueError, match=r"expected device cpu, the flow's, got meta"):
        METHODS[method](large(RECIPES[name](4)), values)


@every_recipe
@pytest.mark.parametrize("values", [[0.0] * 4, np.zeros(4), 0.0, None], ids=type)
def test_what_is_no_tensor_is_refused(name, values):
    with pytest.raises(TypeError, match="expected a tensor, got"):
        large(RECIPES[name](4)).forward_and_log_det(values)


@every_recipe
@every_method
@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)], ids=str)
def test_an_empty_batch_gives_an_empty_result(name, method, shape):
    result = METHODS[method](large(RECIPES[name](4)), points(*shape))
    for output in result if isinstance(result, tuple) else (result,):
        assert output.numel() == 0
        assert output.shape in (torch.Size(shape), torch.Size(shape[:-1]))


@every_recipe
@every_method
def test_one_coordinate_works(name, method):
    result = METHODS[method](large(RECIPES[name](1)), points(5, 1))
    for output in result if isinstance(result, tuple) else (result,):
        assert torch.isfinite(output).all()
        assert output.shape in ((5, 1), (5,))


@every_recipe_with_weights
def test_an_empty_batch_has_zero_gradients(name):
    flow = large(RECIPES[name](4))
    (-fk.FlowDistribution(flow).log_prob(points(0, 4)).sum()).backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in flow.parameters())


@every_recipe
def test_a_score_of_another_shape_is_refused(name):
    with pytest.raises(ValueError, match=r"score: expected the shape of z, \(5, 4\), got \(4,\)"):
        large(RECIPES[name](4)).forward_and_score(points(5, 4), points(4))


@every_recipe
def test_not_a_number_goes_through_as_not_a_number(name):
    z = points(3, 4)
    z[1, 2] = math.nan
    x, log_det = large(RECIPES[name](4)).forward_and_log_det(z)
    assert x[1].isnan().any()
    assert not x[[0, 2]].isnan().any()
    assert not log_det[[0, 2]].isnan().any()


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_missing_context_is_refused(name):
    flow = large(RECIPES[name](4, context_dim=2))
    with pytest.raises(ValueError, match=r"needs one of shape \(\.\.\., 2\), got none"):
        flow.forward_and_log_det(points(5, 4))
    with pytest.raises(ValueError, match=r"needs one of shape \(\.\.\., 2\), got none"):
        fk.FlowDistribution(flow)


@every_recipe
def test_a_superfluous_context_is_refused(name):
    flow = large(RECIPES[name](4))
    for use in (
        lambda: flow.inverse_and_log_det(points(5, 4), points(5, 2)),
        lambda: flow.condition(points(5, 2)),
        lambda: fk.FlowDistribution(flow, context=points(5, 2)),
    ):
        with pytest.raises(ValueError, match="takes none"):
            use()


BAD_CONTEXTS = {
    "too long": (lambda: points(5, 3), ValueError, r"expected shape \(\.\.\., 2\), got \(5, 3\)"),
    "a number": (lambda: torch.tensor(1.0).double(), ValueError, r"got \(\)"),
    "integers": (lambda: torch.ones(5, 2, dtype=torch.int64), TypeError, "got torch.int64"),
    "single precision": (lambda: points(5, 2).float(), TypeError, "got torch.float32"),
    "on another device": (lambda: points(5, 2).to("meta"), ValueError, "got meta"),
    "a list": (lambda: [1.0, 2.0], TypeError, "expected a tensor, got list"),
}


@pytest.mark.parametrize("name", CONDITIONAL)
@pytest.mark.parametrize("case", BAD_CONTEXTS)
def test_a_wrong_context_is_refused(name, case):
    make, error, message = BAD_CONTEXTS[case]
    flow = large(RECIPES[name](4, context_dim=2))
    for use in (
        lambda: flow.forward_and_log_det(points(5, 4), make()),
        lambda: flow.condition(make()),
        lambda: fk.FlowDistribution(flow, context=make()),
    ):
        with pytest.raises(error, match=f"context: .*{message}"):
            use()


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_context_batch_that_does_not_broadcast_is_refused(name):
    flow = large(RECIPES[name](4, context_dim=2))
    with pytest.raises(ValueError, match=r"batch shape \(3,\) does not broadcast .* \(5,\)"):
        flow.inverse_and_log_det(points(5, 4), points(3, 2))


def test_masks_need_a_coordinate_to_transform():
    with pytest.raises(ValueError, match="expected both True and False"):
        fk.realnvp(3, mask=(True, True, True))
    with pytest.raises(ValueError, match="expected both True and False"):
        fk.realnvp(3, mask=(False, False, False))
    template = layer(fk.realnvp, 3)
    with pytest.raises(ValueError, match="at least one False entry"):
        type(template)((True, True, True), template.conditioner, template.law)


def test_an_all_false_mask_makes_an_elementwise_layer():
    template = layer(fk.realnvp, 1)
    flow = large(type(template)((False,), template.conditioner, template.law))
    z = points(5, 1)
    torch.testing.assert_close(flow.inv(flow(z)), z)


UNKNOWN = {
    "activation": "swish",
    "law": "cubic",
    "mixing": "shuffle",
}


@pytest.mark.parametrize("argument", UNKNOWN)
@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf, fk.realnvp])
def test_unknown_names_are_refused_with_the_known_ones(recipe, argument):
    with pytest.raises(
        ValueError, match=f"{argument}: expected one of .*, got '{UNKNOWN[argument]}'"
    ):
        recipe(3, **{argument: UNKNOWN[argument]})


def test_an_unknown_mask_name_is_refused():
    with pytest.raises(ValueError, match="mask: expected one of 'alternating', 'half', got 'odd'"):
        fk.realnvp(3, mask="odd")


@pytest.mark.parametrize("recipe", [fk.maf, fk.realnvp, fk.lu_linear, fk.qr_linear])
@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError), ("3", TypeError)],
)
def test_a_dimension_is_a_positive_integer(recipe, value, error):
    with pytest.raises(error, match="input_dim: expected an integer"):
        recipe(value)


def test_what_is_no_flow_is_refused():
    linear = torch.nn.Linear(3, 3)
    for use in (
        lambda: fk.FlowDistribution(linear),
        lambda: fk.fit_density(linear, points(10, 3)),
        lambda: fk.save_flow(linear, "nowhere"),
        lambda: fk.compose(fk.lu_linear(3), linear),
    ):
        with pytest.raises(TypeError, match="expected a"):
            use()


def test_compositions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"equal input_dim, got \[3, 4\]"):
        fk.compose(fk.lu_linear(3), fk.lu_linear(4))
    with pytest.raises(ValueError, match="one context_dim"):
        fk.compose(fk.maf(3, context_dim=1, **SMALL), fk.maf(3, context_dim=2, **SMALL))
    with pytest.raises(ValueError, match=r"one or more flows of equal input_dim, got \[\]"):
        fk.compose()


def test_a_base_of_another_dimension_is_refused():
    base = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(3), 1.0), 1)
    with pytest.raises(ValueError, match=r"expected shape \(\.\.\., 4\)"):
        fk.FlowDistribution(fk.maf(4, **SMALL), base)
