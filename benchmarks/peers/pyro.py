"""Pyro's own transforms. The autoregressive one is parallel when called: a MAF is its inverse."""

import torch
from pyro.distributions import transforms
from pyro.nn import AutoRegressiveNN, DenseNN

from benchmarks.peers.torch_flow import TorchFlow, chain, fill, redraw


def build(case):
    if case.family == "lu":
        return _lu(case)
    if case.family in ("planar", "sylvester"):
        return _residual(case)
    layers = _realnvp(case) if case.family == "realnvp" else _maf(case)
    nets = torch.nn.ModuleList([t for t in layers if isinstance(t, torch.nn.Module)])
    redraw(nets).to(case.device)
    call = [_forward(t) for t in layers]
    invert = [_inverse(t) for t in reversed(layers)]
    score, sample = (invert, call) if case.family == "realnvp" else (call, invert)
    return TorchFlow(
        parameters=list(nets.parameters()),
        score=lambda x: chain(score, x),
        sample=_values_only(layers, inverse=case.family == "maf"),
        sample_and_log_det=lambda z: chain(sample, z),
    )


def _forward(transform):
    def call(values):
        outputs = transform(values)
        return outputs, transform.log_abs_det_jacobian(values, outputs)

    return call


def _inverse(transform):
    def call(values):
        outputs = transform.inv(values)
        return outputs, -transform.log_abs_det_jacobian(outputs, values)

    return call


def _values_only(layers, inverse):
    def call(values):
        for transform in reversed(layers) if inverse else layers:
            values = (transform.inv if inverse else transform)(values)
        return values

    return call


def _maf(case):
    layers = []
    for i in range(case.layers):
        order = torch.arange(case.dim)
        net = AutoRegressiveNN(
            case.dim, [case.hidden, case.hidden], permutation=order.flip(0) if i % 2 else order
        )
        layers.append(transforms.AffineAutoregressive(net))
    return layers


def _realnvp(case):
    half = case.dim // 2
    swap = torch.arange(case.dim).roll(half)
    layers = []
    for i in range(case.layers):
        if i:
            layers.append(transforms.Permute(swap))
        net = DenseNN(half, [case.hidden, case.hidden], [case.dim - half, case.dim - half])
        layers.append(transforms.AffineCoupling(half, net))
    return layers


def _lu(case):
    """Its trainable linear map is the 1x1 convolution of Glow; a point is an image of one pixel."""
    layer = transforms.GeneralizedChannelPermute(case.dim)
    # Its random orthogonal matrix and permutation stay: they are on the scale of the others.
    return TorchFlow(
        parameters=list(layer.parameters()),
        score=_inverse(layer),
        sample=layer,
        sample_and_log_det=_forward(layer),
        log_det=lambda z: layer.log_abs_det_jacobian(z, z),
        point=lambda values: values[..., None, None],
    )


def _residual(case):
    """They have no inverse."""
    make = {"planar": transforms.Planar, "sylvester": transforms.Sylvester}[case.family]
    layers = torch.nn.ModuleList([make(case.dim) for _ in range(case.layers)])
    fill(*layers.parameters(), dim=case.dim)
    return TorchFlow(
        parameters=list(layers.parameters()),
        score=None,
        sample=_values_only(layers, inverse=False),
        sample_and_log_det=lambda z: chain([_forward(t) for t in layers], z),
    )
