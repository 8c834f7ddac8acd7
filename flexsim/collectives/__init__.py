"""Collectives as programs: which flows between members, and which must arrive before which."""

from flexsim.collectives.program import Program, program
from flexsim.collectives.table import ALGORITHMS, algorithms_of

__all__ = ["ALGORITHMS", "Program", "algorithms_of", "program"]
