"""Ours, in torch."""

import torch

from benchmarks.peers.ours import spec_and_arrays
from benchmarks.peers.torch_flow import TorchFlow
from pyro_flowkit.build import build as build_spec


def flow_of(case, dtype=torch.float32):
    """The case's flow itself."""
    spec, arrays = spec_and_arrays(case)
    tensors = {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}
    return build_spec(spec, tensors).to(case.device)


def build(case):
    flow = flow_of(case)
    return TorchFlow(
        parameters=list(flow.parameters()),
        score=flow.inverse_and_log_det,
        sample=flow,
        sample_and_log_det=flow.forward_and_log_det,
        # x is of no use to the log-determinant of a linear layer.
        log_det=(lambda z: flow.log_abs_det_jacobian(z, z)) if case.family == "lu" else None,
    )
