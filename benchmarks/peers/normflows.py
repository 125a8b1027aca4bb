"""normflows."""

import normflows as nf
import torch

from benchmarks.peers.torch_flow import TorchFlow, chain, fill, redraw


def build(case):
    if case.family == "lu":
        return _lu(case)
    layers = torch.nn.ModuleList(_MAKE[case.family](case))
    redraw(layers).to(case.device)
    forward = [layer.forward for layer in layers]
    inverse = [layer.inverse for layer in reversed(layers)]
    # The layer's parallel direction is its forward one: a MAF scores by it.
    score, sample = (forward, inverse) if case.family == "maf" else (inverse, forward)
    return TorchFlow(
        parameters=list(layers.parameters()),
        score=lambda x: chain(score, x),
        sample=lambda z: chain(sample, z)[0],
        sample_and_log_det=lambda z: chain(sample, z),
    )


def _maf(case):
    for i in range(case.layers):
        if i:
            reverse = nf.flows.Permute(case.dim, mode="shuffle")
            reverse.perm = reverse.inv_perm = torch.arange(case.dim).flip(0)
            yield reverse
        yield nf.flows.MaskedAffineAutoregressive(
            case.dim, case.hidden, num_blocks=1, use_residual_blocks=False
        )


def _realnvp(case):
    half = case.dim // 2
    for i in range(case.layers):
        if i:
            yield nf.flows.Permute(case.dim, mode="swap")
        yield nf.flows.AffineCouplingBlock(
            nf.nets.MLP([half, case.hidden, case.hidden, 2 * (case.dim - half)])
        )


def _image_coupling(case):
    half, hidden = case.image_shape[0] // 2, case.hidden
    net = nf.nets.ConvNet2d((half, hidden, hidden, 2 * half), (3, 3, 3))
    yield nf.flows.AffineCouplingBlock(net, scale_map="sigmoid")


def _conv1x1(case):
    yield nf.flows.Invertible1x1Conv(case.image_shape[0], use_lu=True)


_MAKE = {
    "maf": _maf,
    "realnvp": _realnvp,
    "image_coupling": _image_coupling,
    "conv1x1": _conv1x1,
}


def _lu(case):
    # The layer without the random permutation that comes with it.
    layer = nf.flows.LULinearPermute(case.dim).linear
    fill(layer.lower_entries, layer.upper_entries, layer.bias, dim=case.dim)
    return TorchFlow(
        parameters=list(layer.parameters()),
        score=layer.inverse,
        sample=lambda z: layer.forward(z)[0],
        sample_and_log_det=layer.forward,
        log_det=lambda z: layer.logabsdet(),
    )
