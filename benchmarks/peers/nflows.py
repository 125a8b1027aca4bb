"""nflows: its transforms go from data to base."""

import torch
from nflows import transforms
from nflows.nn.nets import MLP

from benchmarks.peers.torch_flow import TorchFlow, fill, redraw


class _Net(MLP):
    """Its MLP under the signature that its coupling layers call."""

    def forward(self, inputs, context=None):
        return super().forward(inputs)


def build(case):
    if case.family == "lu":
        return _lu(case)
    layers = []
    for i in range(case.layers):
        if case.family == "realnvp":
            layers.append(_coupling(case, i))
            continue
        if i:
            layers.append(transforms.ReversePermutation(case.dim))
        layers.append(
            transforms.MaskedAffineAutoregressiveTransform(
                case.dim, case.hidden, num_blocks=1, use_residual_blocks=False
            )
        )
    flow = redraw(transforms.CompositeTransform(layers)).to(case.device)
    return TorchFlow(
        parameters=list(flow.parameters()),
        score=flow.forward,
        sample=lambda z: flow.inverse(z)[0],
        sample_and_log_det=flow.inverse,
    )


def _coupling(case, i):
    def net(num_inputs, num_outputs):
        return _Net([num_inputs], [num_outputs], [case.hidden, case.hidden])

    return transforms.AffineCouplingTransform(torch.arange(case.dim) % 2 == i % 2, net)


def _lu(case):
    layer = transforms.LULinear(case.dim)
    fill(layer.lower_entries, layer.upper_entries, layer.bias, dim=case.dim)
    return TorchFlow(
        parameters=list(layer.parameters()),
        score=layer.inverse,
        sample=lambda z: layer.forward(z)[0],
        sample_and_log_det=layer.forward,
        log_det=lambda z: layer.logabsdet(),
    )
