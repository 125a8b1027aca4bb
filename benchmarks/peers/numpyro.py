"""NumPyro's own transform: parallel when called, so a MAF is its inverse."""

import jax
import jax.numpy as jnp
from numpyro.distributions.flows import InverseAutoregressiveTransform
from numpyro.nn import AutoregressiveNN

from benchmarks.peers.jax_flow import JaxFlow, redraw


def build(case):
    nets, params = [], []
    for i, key in enumerate(jax.random.split(jax.random.key(0), case.layers)):
        order = jnp.arange(case.dim)
        init, net = AutoregressiveNN(
            case.dim,
            [case.hidden, case.hidden],
            permutation=order[::-1] if i % 2 else order,
        )
        nets.append(net)
        params.append(redraw(init(key, (case.dim,))[1], key))

    def layers(params):
        for net, p in zip(nets, params, strict=True):
            yield InverseAutoregressiveTransform(lambda v, net=net, p=p: net(p, v))

    def score(params, _, x):
        total = 0.0
        for layer in layers(params):
            z, intermediates = layer.call_with_intermediates(x)
            total = total + layer.log_abs_det_jacobian(x, z, intermediates)
            x = z
        return x, total

    def sample_and_log_det(params, _, z):
        total = 0.0
        for layer in reversed(list(layers(params))):
            x = layer.inv(z)
            total = total - layer.log_abs_det_jacobian(x, z)
            z = x
        return z, total

    return JaxFlow(params, score, sample_and_log_det)
