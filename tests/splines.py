"""The spline law of both wings behind numpy arrays, and the textbook's in plain numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import torch

import numpyro_flowkit.laws
import pyro_flowkit.laws


@functools.cache
def jax_law(direction, law):
    return jax.jit(getattr(numpyro_flowkit.laws.law_from_spec(law), direction))


def run(wing, direction, law, points, params):
    if wing == "pyro":
        call = getattr(pyro_flowkit.laws.law_from_spec(law), direction)
        values, log_slopes = call(torch.tensor(points), tuple(map(torch.tensor, params)))
        return values.numpy(), log_slopes.numpy()
    outputs = jax_law(direction, law)(jnp.asarray(points), tuple(map(jnp.asarray, params)))
    return tuple(map(np.asarray, outputs))


@functools.cache
def jax_pullback(direction, law):
    def pull(points, params, cotangents):
        _, pull = jax.vjp(
            getattr(numpyro_flowkit.laws.law_from_spec(law), direction), points, params
        )
        return pull(cotangents)

    return jax.jit(pull)


def pullback(wing, direction, law, points, params, cotangents):
    """Gradients of <outputs, cotangents>: with respect to the points, and to the parameters."""
    if wing == "pyro":
        leaves = [torch.tensor(a, requires_grad=True) for a in (points, *params)]
        outputs = getattr(pyro_flowkit.laws.law_from_spec(law), direction)(leaves[0], leaves[1:])
        given = [torch.tensor(np.broadcast_to(c, points.shape)) for c in cotangents]
        of_points, *of_params = torch.autograd.grad(outputs, leaves, given)
        return of_points.numpy(), np.stack([g.numpy() for g in of_params])
    given = tuple(jnp.broadcast_to(jnp.asarray(c), points.shape) for c in cotangents)
    of_points, of_params = jax_pullback(direction, law)(
        jnp.asarray(points), tuple(map(jnp.asarray, params)), given
    )
    return np.asarray(of_points), np.stack(of_params)


def one_bin(wing, direction, points, corners):
    """`laws.rational_quadratic` itself: differences and log-slopes in one bin."""
    if wing == "pyro":
        call = getattr(pyro_flowkit.laws.rational_quadratic, direction)
        return tuple(a.numpy() for a in call(torch.tensor(points), torch.tensor(corners)))
    call = jax.jit(getattr(numpyro_flowkit.laws.rational_quadratic, direction))
    return tuple(map(np.asarray, call(jnp.asarray(points), jnp.asarray(corners))))


def draw(law, num_points, *, scale=1.4, free=0.3, seed=0, dtype=np.float64):
    """Points inside the box and outside it, and parameters of their own for each."""
    rng = np.random.default_rng(seed)
    points = 0.5 * law.bound * rng.normal(size=num_points)
    params = scale * rng.normal(size=(law.num_conditioned + 2, num_points))
    params[-2:] *= free / scale
    return points.astype(dtype), params.astype(dtype)


def knots_of(law, params):
    """x, y and slope of the knots of one spline, from its parameters in a row."""
    count, c = law.num_bins, law.soft_bound
    bounded = [c * np.tanh(h / c) for h in params]
    positions = []
    for logits in (bounded[:count], bounded[count : 2 * count]):
        sizes = np.exp(logits) / np.sum(np.exp(logits))
        position = -law.bound
        line = [position]
        for size in sizes:
            position += 2 * law.bound * size
            line.append(position)
        positions.append(line)
    slopes = [1.0, *np.exp(bounded[2 * count : 3 * count - 1]), 1.0]
    return *positions, slopes


def textbook(law, z, params):
    """Durkan et al. 2019, equations 4 and 5, at one point."""
    x, y, slope = knots_of(law, params)
    shift, log_scale = params[-2:]
    if abs(z) > law.bound:
        return z * np.exp(log_scale) + shift, log_scale
    for k in range(law.num_bins):
        if z <= x[k + 1] or k == law.num_bins - 1:
            break
    s = (y[k + 1] - y[k]) / (x[k + 1] - x[k])
    xi = (z - x[k]) / (x[k + 1] - x[k])
    denominator = s + (slope[k + 1] + slope[k] - 2 * s) * xi * (1 - xi)
    image = y[k] + (y[k + 1] - y[k]) * (s * xi**2 + slope[k] * xi * (1 - xi)) / denominator
    derivative = s**2 * (slope[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + slope[k] * (1 - xi) ** 2)
    derivative /= denominator**2
    return image * np.exp(log_scale) + shift, np.log(derivative) + log_scale


def bisected(law, x, params):
    """The point whose textbook image is x."""
    low, high = -100.0 * law.bound, 100.0 * law.bound
    for _ in range(90):
        middle = 0.5 * (low + high)
        if textbook(law, middle, params)[0] < x:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
