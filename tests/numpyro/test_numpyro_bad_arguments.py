"""Bad arguments of recipes, layers and distributions: one clear error of the documented type."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

import numpyro_flowkit as fk
from numpyro_flowkit.laws import Additive
from numpyro_flowkit.transforms import Coupling, MaskedAutoregressive
from tests.numpyro.helpers import TRANSFORMS, large, layer, points


def test_masks_need_a_coordinate_to_transform():
    for entry in (True, False):
        with pytest.raises(ValueError, match="expected both True and False"):
            fk.realnvp(3, mask=(entry,) * 3)
    template = layer(fk.realnvp, 3)
    with pytest.raises(ValueError, match="at least one False entry"):
        Coupling((True,) * 3, template.conditioner, template.law)
    with pytest.raises(TypeError, match=r"mask\[0\]: expected True or False, got 1"):
        Coupling((1, 0, 0), template.conditioner, template.law)


def test_parts_of_layers_are_checked():
    template = layer(fk.maf, 3)
    net, law = template.conditioner, template.law
    with pytest.raises(ValueError, match="order: expected each of 0"):
        MaskedAutoregressive(net, law, (0, 0, 1))
    with pytest.raises(TypeError, match="law: expected a Law, got str"):
        MaskedAutoregressive(net, "affine", (0, 1, 2))
    with pytest.raises(ValueError, match=r"free: expected shape \(1, 3\), got \(2, 3\)"):
        MaskedAutoregressive(net, law, (0, 1, 2), free=points(2, 3))
    with pytest.raises(ValueError, match=r"conditioner: expected 1 \* 3 = 3 outputs, got 6"):
        MaskedAutoregressive(net, Additive(), (0, 1, 2)).inv(points(3))


NO_NETWORKS = {
    "a function": (lambda u, context: u, "got a plain function, .*; wrap it in .*Partial"),
    "a compiled function": (jax.jit(lambda u, context: u), "got a plain function"),
    "an array": (jnp.ones(3), "expected a callable, got"),
}


@pytest.mark.parametrize("kind", NO_NETWORKS)
def test_what_is_no_network_is_refused(kind):
    stranger, message = NO_NETWORKS[kind]
    with pytest.raises(TypeError, match=f"conditioner: .*{message}"):
        MaskedAutoregressive(stranger, Additive(), (0, 1, 2))
    with pytest.raises(TypeError, match=f"conditioner: .*{message}"):
        Coupling((True, False), stranger, Additive())


UNKNOWN = {"activation": "swish", "law": "cubic", "mixing": "shuffle"}


@pytest.mark.parametrize("argument", UNKNOWN)
@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf, fk.realnvp])
def test_unknown_names_are_refused_with_the_known_ones(recipe, argument):
    message = f"{argument}: expected one of .*, got '{UNKNOWN[argument]}'"
    with pytest.raises(ValueError, match=message):
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
    affine = dist.transforms.AffineTransform(0.0, 1.0)
    for stranger in (affine, "flow", None, jnp.ones(3)):
        with pytest.raises(TypeError, match="flow: expected a flow, got"):
            fk.FlowDistribution(stranger)
        with pytest.raises(TypeError, match="flow: expected a Flow, got"):
            fk.save_flow(stranger, "nowhere")


def test_a_recipe_that_was_not_called_with_a_key_is_refused_with_the_way_out():
    with pytest.raises(TypeError, match="got a FlowInit; call it with a key"):
        fk.FlowDistribution(fk.maf(3))
    with pytest.raises(TypeError, match="flow: expected a Flow, got FlowInit"):
        fk.save_flow(fk.maf(3), "nowhere")


def test_a_base_of_another_dimension_is_refused():
    base = dist.Normal(jnp.zeros(3), 1.0).to_event(1)
    with pytest.raises(ValueError, match=r"expected shape \(\.\.\., 4\)"):
        fk.FlowDistribution(TRANSFORMS["maf"](), base)


BAD_ARRAYS = {
    "one missing": (lambda a: {"shift": a["shift"]}, "missing .*'lower'"),
    "one too many": (lambda a: {**a, "more": a["shift"]}, "not expected .*'more'"),
    "another shape": (lambda a: {**a, "shift": a["shift"][:2]}, r"shift: expected shape \(3,\)"),
    "integers": (lambda a: {**a, "shift": jnp.zeros(3, int)}, "shift: expected dtype float32 or"),
    "half precision": (lambda a: {**a, "shift": a["shift"].astype("float16")}, "got float16"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_arrays_that_do_not_fit_the_spec_are_refused(kind):
    change, message = BAD_ARRAYS[kind]
    flow = large(fk.lu_linear(3))
    with pytest.raises(ValueError, match=f"arrays: .*{message}"):
        fk.build(flow.spec, change(flow.named_arrays()))


def test_a_flow_is_drawn_in_float32_or_float64_only():
    for dtype in ("float32", "float64"):
        drawn = fk.lu_linear(2)(jax.random.key(0), dtype=dtype)
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(drawn)} == {dtype}
    with pytest.raises(ValueError, match="dtype: expected one of 'float32', 'float64', got 'int"):
        fk.lu_linear(2)(jax.random.key(0), dtype=int)


def test_what_is_no_spec_is_refused():
    for use in (lambda: fk.build("maf", {}), lambda: fk.FlowInit("maf")):
        with pytest.raises(TypeError, match="spec: expected a FlowSpec, got str"):
            use()
