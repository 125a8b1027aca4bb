"""Our flows among NumPyro's own transforms, and NumPyro's transforms among ours."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest
from numpyro.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    PermuteTransform,
    Transform,
)

import numpyro_flowkit as fk
from tests.numpyro.helpers import (
    SMALL,
    TRANSFORMS,
    assert_close,
    forward,
    inverse,
    large,
    layer,
    log_prob,
    points,
    standard_normal,
)

ORDER = (2, 0, 3, 1)


class Matrix(Transform):
    """``x = A z``. (NumPyro's own LowerCholeskyAffine cannot invert a batch on the oldest JAX.)"""

    domain = dist.constraints.real_vector
    codomain = dist.constraints.real_vector

    def __init__(self, matrix):
        self.matrix = matrix

    def __call__(self, x):
        return x @ self.matrix.T

    def _inverse(self, y):
        return y @ jnp.linalg.inv(self.matrix).T

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        return jnp.broadcast_to(jnp.linalg.slogdet(self.matrix).logabsdet, x.shape[:-1])

    def tree_flatten(self):
        return (self.matrix,), (("matrix",), {})


FOREIGN = {
    "numbers": lambda: AffineTransform(points(4, seed=5), jnp.array([1.0, 2.0, 0.5, -3.0])),
    "a permutation": lambda: PermuteTransform(jnp.array(ORDER)),
    "a matrix": lambda: Matrix(points(4, 4) + 2 * jnp.eye(4)),
    "a composition": lambda: ComposeTransform(
        [PermuteTransform(jnp.array(ORDER)), AffineTransform(0.0, 2.0)]
    ),
    "an inverse": lambda: layer(fk.iaf, 4).inv,
    "a conditioned flow": lambda: layer(fk.maf, 4, context_dim=2).condition(points(2, seed=5)),
}
every_foreign = pytest.mark.parametrize("name", FOREIGN)


def sandwich(name):
    return fk.compose(large(fk.lu_linear(4)), FOREIGN[name](), layer(fk.realnvp, 4))


def dense_log_det(function, z):
    return jnp.linalg.slogdet(jax.jacfwd(function)(z)).logabsdet


@jax.jit
def all_of(flow, z):
    """Value, log-determinants, image of the way back, and both scores."""
    x, log_det, score = flow.forward_and_score(z, -z)
    back, opposite = flow.inverse_and_log_det(x)

    def log_density(x):
        base_z, log_det = flow.inverse_and_log_det(x)
        return standard_normal(4).log_prob(base_z) + log_det

    dense = jax.vmap(lambda z: dense_log_det(flow, z))(z)
    return x, log_det, dense, back, opposite, score, jax.vmap(jax.grad(log_density))(x)


@every_foreign
def test_a_foreign_part_takes_part_in_everything(name):
    flow, z = sandwich(name), points(5, 4)
    x, log_det, dense, back, opposite, score, expected_score = all_of(flow, z)
    assert_close(log_det, dense, 1e-8, 1e-8)
    assert_close(back, z, 1e-8, 1e-8)
    assert_close(opposite, -log_det, 1e-8, 1e-8)
    assert_close(score, expected_score, 1e-7, 1e-7)
    one, middle, last = flow.layers
    assert_close(x, jax.jit(lambda a, b, c, z: c(b(a(z))))(one, middle, last, z))


@every_foreign
def test_a_composition_with_a_foreign_part_has_no_spec(name):
    flow = sandwich(name)
    assert flow.spec is None
    assert type(flow.layers[1]).__name__ in repr(flow)
    with pytest.raises(ValueError, match=r"named_arrays: .* no spec that names its arrays"):
        flow.named_arrays()


def test_a_foreign_part_of_an_empty_batch():
    x, log_det = forward(sandwich("numbers"), points(0, 4))
    assert (x.shape, log_det.shape) == ((0, 4), (0,))


def test_a_foreign_part_is_differentiated():
    flow, x = sandwich("a matrix"), points(5, 4)

    @jax.jit
    def gradient(flow):
        return jax.grad(lambda flow: fk.FlowDistribution(flow).log_prob(x).sum())(flow)

    matrix = gradient(flow).layers[1].matrix
    assert float(jnp.abs(matrix).sum()) > 0.1


def test_nested_compositions_equal_the_flat_one():
    a, b, c = layer(fk.realnvp, 4), large(fk.lu_linear(4)), large(fk.qr_linear(4))
    z = points(5, 4)
    expected = forward(fk.compose(a, b, c), z)
    assert_close(forward(fk.compose(fk.compose(a, b), c), z), expected)
    assert_close(forward(fk.compose(a, fk.compose(b, c)), z), expected)


def test_a_composition_of_recipes_is_the_composition_of_their_flows():
    inits = fk.lu_linear(4), fk.permute(4, order=ORDER), fk.realnvp(4, **SMALL)
    composed = large(fk.compose(*inits))
    assert composed.spec == fk.compose(*composed.layers).spec
    assert [part.spec for part in composed.layers] == [init.spec for init in inits]
    assert fk.compose(*composed.layers) == composed


def test_a_composition_applies_its_parts_in_the_order_given():
    linear, scale = large(fk.lu_linear(4)), AffineTransform(1.0, 3.0)
    z = points(5, 4)
    assert_close(forward(fk.compose(linear, scale), z)[0], 1 + 3 * linear(z))
    assert_close(forward(fk.compose(scale, linear), z)[0], linear(1 + 3 * z))


def test_flows_side_by_side_in_a_transformed_distribution():
    one, two, scale = layer(fk.maf, 4), layer(fk.realnvp, 4), AffineTransform(1.0, 2.0)
    x = points(5, 4)
    listed = dist.TransformedDistribution(standard_normal(4), [one, scale, two])
    composed = fk.FlowDistribution(fk.compose(one, scale, two))
    assert_close(log_prob(listed, x), log_prob(composed, x))


def test_numpyros_composition_of_flows_is_ours():
    one, two = layer(fk.maf, 4), layer(fk.realnvp, 4)
    z = points(5, 4)

    @jax.jit
    def theirs(chain, z):
        x, kept = chain.call_with_intermediates(z)
        log_dets = [chain.log_abs_det_jacobian(z, x, inter) for inter in (kept, None)]
        return x, *log_dets, chain.inv(x)

    x, from_kept, fresh, back = theirs(ComposeTransform([one, two]), z)
    expected, log_det = forward(fk.compose(one, two), z)
    assert_close((x, from_kept, fresh), (expected, log_det, log_det))
    assert_close(back, z, 1e-8, 1e-8)


def test_a_flow_may_be_followed_by_a_change_of_support():
    flow = layer(fk.realnvp, 4)
    density = dist.TransformedDistribution(standard_normal(4), [flow, ExpTransform()])
    assert density.support.event_dim == 1
    y = jnp.exp(points(5, 4))
    expected = log_prob(fk.FlowDistribution(flow), jnp.log(y)) - jnp.log(y).sum(-1)
    assert_close(log_prob(density, y), expected)


@pytest.mark.parametrize("name", ["maf", "coupling", "conditioned"])
def test_an_inverse_is_a_transform_of_its_own(name):
    transform, x = TRANSFORMS[name](), points(5, 4)

    @jax.jit
    def through(inv, x):
        density = dist.TransformedDistribution(standard_normal(4), [inv])
        z, kept = inv.call_with_intermediates(x)
        return z, inv.log_abs_det_jacobian(x, z, kept), density.log_prob(x)

    z, log_det, score = through(transform.inv, x)
    assert_close((z, log_det), inverse(transform, x), 1e-8, 1e-8)
    image, image_log_det = forward(transform, x)
    assert_close(score, standard_normal(4).log_prob(image) + image_log_det, 1e-8, 1e-8)


BAD_PARTS = {
    "none": (lambda: (), ValueError, "expected one or more|at least one"),
    "flows and recipes": (
        lambda: (fk.lu_linear(3), large(fk.lu_linear(3))),
        TypeError,
        "expected all FlowInit or all transforms, got FlowInit, LULinear",
    ),
    "a function": (lambda: (large(fk.lu_linear(3)), jnp.tanh), TypeError, "expected all FlowInit"),
    "no flow": (lambda: (AffineTransform(0.0, 1.0),), ValueError, "expected one or more flows"),
    "dimensions": (
        lambda: (large(fk.lu_linear(3)), large(fk.lu_linear(4))),
        ValueError,
        r"one or more flows of equal input_dim, got \[3, 4\]",
    ),
    "recipes of two dimensions": (
        lambda: (fk.lu_linear(3), fk.lu_linear(4)),
        ValueError,
        "input_dim",
    ),
    "contexts": (
        lambda: tuple(large(fk.maf(3, context_dim=c, **SMALL)) for c in (1, 2)),
        ValueError,
        r"expected one context_dim, got \[1, 2\]",
    ),
    "another codomain": (
        lambda: (large(fk.lu_linear(3)), ExpTransform()),
        ValueError,
        r"layers\[1\]: expected a transform whose codomain is real or real_vector, got Positive",
    ),
}


@pytest.mark.parametrize("case", BAD_PARTS)
def test_compositions_that_do_not_fit_are_refused(case):
    parts, error, message = BAD_PARTS[case]
    with pytest.raises(error, match=message):
        fk.compose(*parts())


def test_a_recipe_among_the_layers_is_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"layers\[0\]: .* FlowInit; call the recipe's result with"):
        fk.transforms.Compose([fk.lu_linear(3)])
