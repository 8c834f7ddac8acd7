"""Sweeps: many configurations of a scenario, a row each.

The package can be called: ``flexsim.sweep("splits.toml")`` is :func:`flexsim.sweep.api.sweep`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexsim.sweep.result import SweepResult


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> SweepResult:
        from flexsim.sweep.api import sweep

        return sweep(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
