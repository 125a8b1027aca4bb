"""The plain loop that calls the network once per coordinate: what every sweep is held to."""

import torch

from pyro_flowkit.transforms import Autoregressive, MaskedAutoregressive


def loop_layer(layer, v, order, context):
    """Coordinate by coordinate, the whole network for each; autograd sees every step."""
    solve = layer.law.forward if isinstance(layer, MaskedAutoregressive) else layer.law.inverse
    dim = len(order)
    u = torch.zeros_like(v)
    log_det = torch.zeros(v.shape[:-1], dtype=v.dtype)
    for j in range(dim):
        raw = layer.conditioner(u[..., list(order)], context)
        params = [raw[..., p * dim + j] for p in range(layer.law.num_conditioned)]
        if layer.free is not None:
            params += [row[j] for row in layer.free]
        entry, log_slope = solve(v[..., order[j]], tuple(params))
        one = torch.nn.functional.one_hot(torch.tensor(order[j]), dim).to(v.dtype)
        u = u + one * entry[..., None]
        log_det = log_det + log_slope
    return u, log_det


def loop(flow, values, context, order=None):
    """`loop_layer` through all layers of a flow, in the flow's sequential direction."""
    if isinstance(flow, Autoregressive):
        return loop_layer(flow, values, order or flow.spec.order, context)
    layers = flow.layers if flow.sequential_forward else reversed(flow.layers)
    total = torch.zeros(values.shape[:-1], dtype=values.dtype)
    for layer in layers:
        if isinstance(layer, Autoregressive):
            values, log_det = loop(layer, values, context if layer.context_dim else None)
        elif flow.sequential_forward:
            values, log_det = layer.forward_and_log_det(values)
        else:
            values, log_det = layer.inverse_and_log_det(values)
        total = total + log_det
    return values, total


def sequential(flow):
    """The method that goes coordinate by coordinate."""
    return flow.forward_and_log_det if flow.sequential_forward else flow.inverse_and_log_det
