"""Options of the test run: rewriting golden files, and the scenarios that take long."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-golden",
        action="store_true",
        help="write tests/golden/*.csv anew, for all scenarios, in place of comparing",
    )
    parser.addoption(
        "--all-scenarios",
        action="store_true",
        help="also simulate the scenarios that take many seconds each",
    )
