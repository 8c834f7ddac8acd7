"""Search over strategies: objectives, spaces, proposals and methods.

The package can be called: ``flexsim.search(scenario)`` is :func:`flexsim.search.api.search`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexsim.search.result import SearchResult


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> SearchResult:
        from flexsim.search.api import search

        return search(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
