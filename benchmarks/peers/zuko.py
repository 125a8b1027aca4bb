"""zuko: its transforms go from data to base."""

import torch
import zuko

from benchmarks.peers.torch_flow import TorchFlow, fill, redraw


def build(case):
    if case.family == "lu":
        return _lu(case)
    kind = {"maf": zuko.flows.MAF, "realnvp": zuko.flows.RealNVP}[case.family]
    widths = (case.hidden, case.hidden)
    flow = redraw(kind(case.dim, transforms=case.layers, hidden_features=widths)).to(case.device)
    # The lazy module makes a plain transform, anew for each call as in `flow().log_prob(x)`.
    return TorchFlow(
        parameters=list(flow.parameters()),
        score=lambda x: flow.transform().call_and_ladj(x),
        sample=lambda z: flow.transform().inv(z),
        sample_and_log_det=lambda z: flow.transform().inv.call_and_ladj(z),
    )


def _lu(case):
    matrix = torch.nn.Parameter(torch.empty(case.dim, case.dim))
    fill(matrix, dim=case.dim)
    matrix.data += torch.eye(case.dim)

    def transform():
        return zuko.transforms.LULinearTransform(matrix)

    return TorchFlow(
        parameters=[matrix],
        score=lambda x: transform().inv.call_and_ladj(x),
        sample=lambda z: transform()(z),
        sample_and_log_det=lambda z: transform().call_and_ladj(z),
        log_det=lambda z: transform().log_abs_det_jacobian(z, z),
    )
