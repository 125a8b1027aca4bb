"""Conditioners: networks that yield the parameters of a law."""

from numpyro_flowkit.conditioners.base import Conditioner, draw_arrays
from numpyro_flowkit.conditioners.conv_net import ConvNet
from numpyro_flowkit.conditioners.made import MADE
from numpyro_flowkit.conditioners.mlp import MLP

__all__ = ["MADE", "MLP", "Conditioner", "ConvNet", "draw_arrays"]
