"""What an adapter of a JAX library returns, and how its operations are compiled and called."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class JaxFlow:
    """One library's flow as pure functions ``(params, fixed, values)``.

    Args:
        params: every weight, a pytree.
        fixed: arrays that are no weights (masks), a pytree, or None.
        score: -> (z, log_det), data to base.
        sample_and_log_det: -> (x, log_det), base to data. Where only x is wanted, the compiler
            removes the rest.
        linear: whether the log-determinant of this flow does not depend on the point.
    """

    params: Any
    score: Callable
    sample_and_log_det: Callable
    fixed: Any = None
    linear: bool = False


def redraw(params, rng_key):
    """Stax layers (weight (in, out), bias) drawn uniformly from +-1/sqrt(fan_in)."""
    leaves, tree = jax.tree.flatten(params, is_leaf=lambda p: isinstance(p, tuple) and len(p) == 2)
    drawn = []
    for key, (weight, bias) in zip(jax.random.split(rng_key, len(leaves)), leaves, strict=True):
        keys, bound = jax.random.split(key), weight.shape[0] ** -0.5
        drawn.append(
            tuple(
                jax.random.uniform(k, a.shape, jnp.float32, -bound, bound)
                for k, a in zip(keys, (weight, bias), strict=True)
            )
        )
    return jax.tree.unflatten(tree, drawn)


class JaxOperation:
    """One operation, compiled once, ready to be called with fresh inputs."""

    def __init__(self, flow, case, operation):
        self.case = case
        self.flow = flow
        self.generator = np.random.default_rng(1)
        if operation == "log_det" and not flow.linear:
            raise ValueError("no log-determinant of its own")
        function = {
            "score": flow.score,
            "sample": lambda *a: flow.sample_and_log_det(*a)[0],
            "log_det": lambda *a: flow.sample_and_log_det(*a)[1],
            "score_grad": _with_gradient(flow.score),
            "sample_grad": _with_gradient(flow.sample_and_log_det),
        }[operation]
        arguments = (flow.params, flow.fixed, self.fresh())
        start, start_cpu = time.perf_counter(), time.process_time()
        self.compiled = jax.jit(function).lower(*arguments).compile()
        self.compile_seconds = {
            "wall": time.perf_counter() - start,
            "cpu": time.process_time() - start_cpu,
        }

    def fresh(self):
        """An input that no call has seen."""
        values = self.generator.standard_normal((self.case.batch, *self.case.event_shape))
        return jax.block_until_ready(jnp.asarray(values, jnp.float32))

    def call(self, values):
        jax.block_until_ready(self.compiled(self.flow.params, self.flow.fixed, values))

    def wait(self):
        """Calls wait themselves."""

    def temporary_bytes(self):
        """Memory that the compiled program needs beside its inputs and outputs."""
        return self.compiled.memory_analysis().temp_size_in_bytes


def _with_gradient(function):
    def loss(params, fixed, values):
        outputs, log_det = function(params, fixed, values)
        return (0.5 * jnp.square(outputs).sum() - log_det.sum()) / len(values)

    return jax.grad(loss, argnums=(0, 2))
