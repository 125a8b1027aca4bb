"""Bases that are learnt together with a flow: tails, and several modes."""

from numpyro_flowkit.bases.base import Base, BaseInit
from numpyro_flowkit.bases.mixture import MixtureBase, mixture_base
from numpyro_flowkit.bases.student_t import StudentTBase, student_t_base

__all__ = ["Base", "BaseInit", "MixtureBase", "StudentTBase", "mixture_base", "student_t_base"]
