"""Bases that are learnt together with a flow: tails, and several modes."""

from pyro_flowkit.bases.base import Base
from pyro_flowkit.bases.mixture import MixtureBase, mixture_base
from pyro_flowkit.bases.student_t import StudentTBase, student_t_base

__all__ = ["Base", "MixtureBase", "StudentTBase", "mixture_base", "student_t_base"]
