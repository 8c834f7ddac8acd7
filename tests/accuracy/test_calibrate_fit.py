"""The fit on its own: trials that are a formula instead of a simulator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from flexsim.accuracy.calibrate_constants import CalibrationError, Constant
from flexsim.accuracy.calibrate_fit import check_told, cross_validated, fitted

Float = NDArray[np.float64]
HOST = Constant("host", 1.0, 1000.0, "us")
SPEED = Constant("speed", 0.1, 10.0)
TRUE = (60.0, 0.7)


class Formula:
    """Runs of which each takes the longer of host time and computing at some speed."""

    def __init__(
        self, work: Float, outlier: float = 1.0, constants: Sequence[Constant] = ()
    ) -> None:
        self.constants = list(constants or (HOST, SPEED))
        self.runs = list(range(len(work)))
        self._work = work
        self._measured = self._times(TRUE)
        self._measured[3] *= outlier

    def _times(self, values: Sequence[float] | Float) -> Float:
        host, speed = values
        return np.asarray(host + self._work / speed, np.float64)

    def log_ratios(self, values: Sequence[float] | Float, rows: Float | None = None) -> Float:
        found = np.log(self._times(values) / self._measured)
        return found if rows is None else np.asarray(found[rows], np.float64)


class Product(Formula):
    """Runs that tell only the product of two constants."""

    def _times(self, values: Sequence[float] | Float) -> Float:
        return np.asarray(self._work * values[0] * values[1], np.float64)


WORK = np.geomspace(1.0, 1000.0, 20)
START = np.array([10.0, 2.0])


def test_constants_of_a_formula_are_found_to_four_digits() -> None:
    assert fitted(Formula(WORK), START).values == pytest.approx(TRUE, rel=1e-3)


@pytest.mark.parametrize("outlier", [0.2, 5.0])
def test_an_outlier_bends_nothing(outlier: float) -> None:
    plain = np.abs(fitted(Formula(WORK, outlier), START).values / TRUE - 1)
    assert plain.max() < 0.03


def test_values_stay_between_their_bounds() -> None:
    narrow = (HOST, Constant("speed", 1.0, 10.0))
    found = fitted(Formula(WORK, constants=narrow), START)
    assert found.values[1] == pytest.approx(1.0, rel=1e-3)


def test_held_out_runs_are_told_by_the_others() -> None:
    trials = Formula(WORK, outlier=3.0)
    held_out = cross_validated(trials, fitted(trials, START), 5)
    others = np.delete(np.abs(held_out), 3)
    assert others.max() < 0.05
    assert held_out[3] == pytest.approx(-np.log(3), abs=0.05)


def test_constants_that_stand_for_each_other_are_named() -> None:
    with pytest.raises(CalibrationError, match="cannot be told apart by these 20 runs") as told:
        check_told(Product(WORK), START)
    assert "host" in str(told.value)
    assert "speed" in str(told.value)


def test_a_constant_without_effect_is_named() -> None:
    with pytest.raises(CalibrationError, match=r"^host cannot be fitted"):
        check_told(Formula(WORK * 1e9), START)
