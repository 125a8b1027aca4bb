"""Where a posterior is, and how wide: the Gaussian that a guide starts from. Knows no framework."""

from flowkit_core.warm_start.gaussian import Gaussian
from flowkit_core.warm_start.search import CHUNK, METHODS, RADIUS, WarmStart, find_gaussian
from flowkit_core.warm_start.target import Target

__all__ = ["CHUNK", "METHODS", "RADIUS", "Gaussian", "Target", "WarmStart", "find_gaussian"]
