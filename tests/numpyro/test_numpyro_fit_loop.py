"""fit_density against a plain loop of Adam steps in numpy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import numpyro_flowkit as fk
from flowkit_core.fitting import FitSettings
from tests.numpyro.models import SMALL


def start():
    return fk.realnvp(3, **SMALL)(jax.random.key(0))


def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 3)) @ np.array(
        [[1.0, 0.8, -0.5], [0.0, 0.6, 0.3], [0.0, 0.0, 0.4]]
    ) + np.array([1.0, -1.0, 0.5])


def plain_loop(flow, data, settings, loss_and_gradient):
    """Adam with clipped gradients, step by step in numpy; returns the flow and what it skipped."""
    leaves, structure = jax.tree.flatten(flow)
    leaves = [np.array(leaf) for leaf in leaves]
    first, second, count, skipped = [0.0] * len(leaves), [0.0] * len(leaves), 0, 0
    train, _ = settings.split(len(data))
    for epoch in range(settings.num_epochs):
        batches = settings.batches(len(train), epoch)
        for batch, rate in zip(batches, settings.rates(len(train), epoch), strict=True):
            flow = jax.tree.unflatten(structure, leaves)
            loss, gradient = loss_and_gradient(flow, data[train[batch]])
            gradient = [np.asarray(g) for g in jax.tree.leaves(gradient)]
            norm = math.sqrt(sum((g**2).sum() for g in gradient))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                skipped += 1
                continue
            count += 1
            clip = min(1.0, settings.max_grad_norm / (norm + 1e-6))
            for i, g in enumerate(gradient):
                first[i] = 0.9 * first[i] + 0.1 * clip * g
                second[i] = 0.999 * second[i] + 0.001 * (clip * g) ** 2
                mean = first[i] / (1 - 0.9**count)
                spread = np.sqrt(second[i] / (1 - 0.999**count))
                leaves[i] = leaves[i] - rate * mean / (spread + 1e-8)
    return jax.tree.unflatten(structure, leaves), skipped


class Patchy(dist.Normal):
    """N(0, I) whose log-density is NaN where the first coordinate is beyond a limit."""

    def __init__(self, limit):
        self.limit = limit
        super().__init__(jnp.zeros(3), 1.0)

    def log_prob(self, value):
        bad = value[..., :1] > self.limit
        return jnp.where(bad, jnp.nan, super().log_prob(value))


BASES = {
    "standard": dist.Normal(jnp.zeros(3), 1.0).to_event(1),
    "student": dist.StudentT(3.0, jnp.zeros(3), 1.0).to_event(1),
    "patchy": dist.Independent(Patchy(2.3), 1),
}
LOOPS = {
    "cosine": ("standard", "cosine", 1e6, 1.0),
    "constant": ("standard", "constant", 1e6, 1.0),
    "clipped": ("standard", "cosine", 0.5, 20.0),
    "another base": ("student", "cosine", 5.0, 1.0),
    "skipped steps": ("patchy", "constant", 5.0, 1.0),
}


@pytest.mark.parametrize("kind", LOOPS)
def test_it_does_what_a_plain_loop_does(kind):
    base, schedule, max_grad_norm, factor = LOOPS[kind]
    settings = FitSettings(0, 32, 3, 0.02, schedule, max_grad_norm, 30, 6)
    data = factor * rows()

    @jax.jit
    @jax.value_and_grad
    def loss(flow, batch):
        z, log_det = flow.inverse_and_log_det(batch)
        return -jnp.mean(BASES[base].log_prob(z) + log_det)

    expected, skipped = plain_loop(start(), data, settings, loss)
    result = fk.fit_density(
        start(), data, base=None if base == "standard" else BASES[base], schedule=schedule,
        max_grad_norm=max_grad_norm, learning_rate=0.02, seed=6, validation=0, num_epochs=3,
        batch_size=32, progress=False,
    )  # fmt: skip
    assert result.best_epoch == 2  # so that the flow that is returned is the last one
    assert result.skipped_steps == skipped
    assert (skipped > 0) == (kind == "skipped steps")
    assert all(map(math.isfinite, result.train_losses))
    for name, array in result.flow.named_arrays().items():
        np.testing.assert_allclose(
            array, expected.named_arrays()[name], rtol=1e-9, atol=1e-11, err_msg=name
        )
