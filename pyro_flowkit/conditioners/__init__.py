"""Conditioners: networks that yield the parameters of a law."""

from pyro_flowkit.conditioners.base import Conditioner, draw_arrays
from pyro_flowkit.conditioners.conv_net import ConvNet
from pyro_flowkit.conditioners.made import MADE
from pyro_flowkit.conditioners.mlp import MLP

__all__ = ["MADE", "MLP", "Conditioner", "ConvNet", "draw_arrays"]
