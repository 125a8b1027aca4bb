"""One face for both wings: numpy arrays in, numpy arrays out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import torch

import numpyro_flowkit
import pyro_flowkit


class PyroWing:
    """pyro_flowkit behind numpy arrays."""

    name = "pyro"
    package = pyro_flowkit

    def array(self, values):
        return None if values is None else torch.from_numpy(np.array(values))

    def numpy(self, values):
        return values.detach().cpu().numpy()

    def build(self, spec, arrays):
        return pyro_flowkit.build(spec, {k: self.array(v) for k, v in arrays.items()})

    def fresh(self, spec, dtype=np.float64):
        dtypes = {np.float32: torch.float32, np.float64: torch.float64}
        return pyro_flowkit.build(spec, seed=0).to(dtypes[dtype])

    def named_arrays(self, flow):
        return {name: self.numpy(p) for name, p in flow.named_parameters()}

    def call(self, flow, method, *args):
        outputs = getattr(flow, method)(*(self.array(a) for a in args))
        return tuple(self.numpy(o) for o in outputs)

    def jacobians_by_autodiff(self, flow, method, points, context):
        def one(point, given):
            return getattr(flow, method)(point, given)[0]

        jacobians = [
            torch.autograd.functional.jacobian(
                lambda p, i=i: one(p, None if context is None else self.array(context[i])),
                self.array(point),
            )
            for i, point in enumerate(points)
        ]
        jacobians = torch.stack(jacobians)
        return jacobians.reshape(len(points), points[0].size, points[0].size)

    def log_det_by_autodiff(self, flow, method, points, context):
        jacobians = self.jacobians_by_autodiff(flow, method, points, context)
        return self.numpy(torch.linalg.slogdet(jacobians).logabsdet)

    def score_by_autodiff(self, flow, x, context):
        leaf = self.array(x).requires_grad_()
        z, log_det = flow.inverse_and_log_det(leaf, self.array(context))
        log_density = -0.5 * (z**2).sum() + log_det.sum()
        return self.numpy(torch.autograd.grad(log_density, leaf)[0])

    def weight_gradients(self, flow, method, points, context, cotangents):
        """Gradient of <outputs, cotangents> with respect to every array."""
        outputs = getattr(flow, method)(self.array(points), self.array(context))
        loss = sum((o * self.array(c)).sum() for o, c in zip(outputs, cotangents, strict=True))
        named = dict(flow.named_parameters())
        if not named:
            return {}
        found = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
        return {k: self.numpy(g) for k, g in zip(named, found, strict=True)}


# Compiled once per architecture, shape and dtype: the flow is an argument, its weights are leaves.
@functools.partial(jax.jit, static_argnums=0)
def _call(method, flow, *args):
    return getattr(flow, method)(*args)


@functools.partial(jax.jit, static_argnums=0)
def _log_det_by_autodiff(method, flow, points, context):
    def one(point, given):
        return getattr(flow, method)(point, given)[0]

    jacobians = jax.vmap(jax.jacrev(one), (0, None if context is None else 0))(points, context)
    jacobians = jacobians.reshape(len(points), points[0].size, points[0].size)
    return jnp.linalg.slogdet(jacobians).logabsdet


@jax.jit
def _score_by_autodiff(flow, x, context):
    def log_density(x):
        z, log_det = flow.inverse_and_log_det(x, context)
        return -0.5 * (z**2).sum() + log_det.sum()

    return jax.grad(log_density)(x)


@functools.partial(jax.jit, static_argnums=0)
def _weight_gradients(method, flow, points, context, cotangents):
    def loss(flow):
        outputs = getattr(flow, method)(points, context)
        return sum((o * c).sum() for o, c in zip(outputs, cotangents, strict=True))

    return jax.grad(loss)(flow)


class NumpyroWing:
    """numpyro_flowkit behind numpy arrays; every call is compiled, as users do."""

    name = "numpyro"
    package = numpyro_flowkit

    def array(self, values):
        return None if values is None else jnp.asarray(values)

    def numpy(self, values):
        return np.asarray(values)

    def build(self, spec, arrays):
        return numpyro_flowkit.build(spec, {k: jnp.asarray(v) for k, v in arrays.items()})

    def fresh(self, spec, dtype=np.float64):
        flow = numpyro_flowkit.FlowInit(spec)(jax.random.key(0))
        return jax.tree.map(lambda leaf: leaf.astype(dtype), flow)

    def named_arrays(self, flow):
        return {name: np.asarray(a) for name, a in flow.named_arrays().items()}

    def call(self, flow, method, *args):
        return tuple(np.asarray(o) for o in _call(method, flow, *map(self.array, args)))

    def log_det_by_autodiff(self, flow, method, points, context):
        points, context = self.array(points), self.array(context)
        return np.asarray(_log_det_by_autodiff(method, flow, points, context))

    def score_by_autodiff(self, flow, x, context):
        return np.asarray(_score_by_autodiff(flow, self.array(x), self.array(context)))

    def weight_gradients(self, flow, method, points, context, cotangents):
        points, context = self.array(points), self.array(context)
        cotangents = tuple(map(self.array, cotangents))
        return self.named_arrays(_weight_gradients(method, flow, points, context, cotangents))


WINGS = {"pyro": PyroWing(), "numpyro": NumpyroWing()}
