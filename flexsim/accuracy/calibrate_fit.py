"""The fit itself: what runs tell, robust least squares, and cross-validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.accuracy.calibrate_constants import CalibrationError
from flexsim.accuracy.calibrate_trials import Trials

Float = NDArray[np.float64]

ROWS_PER_CONSTANT = 5
"""Runs that must be there for every constant that is fitted."""
LEAST_EFFECT = 0.002
"""By what share times must change, in the root mean square, where a constant changes by 100 %."""
LARGEST_CONDITION = 30.0
"""Of the Jacobian with columns of equal length: beyond, constants stand for each other."""
_STEP = 0.05
_TOLERANCE = 0.1
"""Errors beyond this count as outliers more and more."""
_MOST_STEPS = 30


@dataclass(frozen=True, eq=False)
class Fit:
    """Fitted values, and the Jacobian of log times by log constants there."""

    values: Float
    jacobian: Float


def jacobian(trials: Trials, values: Float) -> Float:
    """Return d log(time) / d log(constant), a row a run, by finite differences."""
    base = trials.log_ratios(values)
    columns = []
    for place, constant in enumerate(trials.constants):
        moved = values.copy()
        up = values[place] * (1 + _STEP) <= constant.high
        moved[place] *= 1 + _STEP if up else 1 / (1 + _STEP)
        step = np.log(moved[place] / values[place])
        columns.append((trials.log_ratios(moved) - base) / step)
    return np.stack(columns, axis=1)


def check_told(trials: Trials, values: Float) -> None:
    """Raise :class:`CalibrationError` naming a constant that the runs do not determine."""
    matrix = jacobian(trials, values)
    effect = np.sqrt(np.mean(matrix**2, axis=0))
    weakest = int(np.argmin(effect))
    if effect[weakest] < LEAST_EFFECT:
        raise CalibrationError(
            f"{trials.constants[weakest].name} cannot be fitted: the times of these"
            f" {len(trials.runs)} runs hardly depend on it; leave it out of --constants"
        )
    _, sizes, directions = np.linalg.svd(matrix / np.linalg.norm(matrix, axis=0))
    if sizes[0] > LARGEST_CONDITION * sizes[-1]:
        alike = np.argsort(-np.abs(directions[-1]))[:2]
        one, other = (trials.constants[int(place)].name for place in alike)
        raise CalibrationError(
            f"{one} and {other} cannot be told apart by these {len(trials.runs)} runs (condition"
            f" {sizes[0] / sizes[-1]:.0f}, at most {LARGEST_CONDITION:.0f}); fit one of them"
        )


def fitted(trials: Trials, start: Float) -> Fit:
    """Return the constants for which the robust sum of squared log ratios is least."""
    from scipy.optimize import least_squares

    low = np.log([constant.low for constant in trials.constants])
    high = np.log([constant.high for constant in trials.constants])
    result = least_squares(
        lambda x: trials.log_ratios(np.exp(x)),
        np.clip(np.log(start), low + 1e-6, high - 1e-6),
        jac=lambda x: jacobian(trials, np.exp(x)),
        bounds=(low, high),
        loss="soft_l1",
        f_scale=_TOLERANCE,
        xtol=2e-3,
        ftol=1e-3,
        max_nfev=_MOST_STEPS,
    )
    if not result.success:
        raise CalibrationError(
            f"the fit did not settle in {_MOST_STEPS} steps; name fewer constants in --constants"
        )
    pairs = zip(trials.constants, np.exp(result.x), strict=True)
    values = np.array([constant.rounded(value) for constant, value in pairs])
    return Fit(values, jacobian(trials, values))


def cross_validated(trials: Trials, fit: Fit, folds: int) -> Float:
    """Return the log ratio of every run, simulated with constants fitted without its fold.

    Run n is in fold n modulo ``folds``. The constants of a fold are fitted to times that are
    linear about the whole fit; the runs left out are then simulated with them.
    """
    base = trials.log_ratios(fit.values)
    number = np.arange(len(base)) % folds
    found = np.empty_like(base)
    for fold in range(folds):
        rows = np.flatnonzero(number == fold)
        kept = number != fold
        values = _refitted(trials, fit, (base[kept], fit.jacobian[kept]))
        found[rows] = trials.log_ratios(values, rows)
    return found


def _refitted(trials: Trials, fit: Fit, kept: tuple[Float, Float]) -> Float:
    """Return the constants that fit some runs best."""
    from scipy.optimize import least_squares

    base, matrix = kept
    at = np.log(fit.values)
    low = np.log([constant.low for constant in trials.constants]) - at
    high = np.log([constant.high for constant in trials.constants]) - at
    result = least_squares(
        lambda x: base + matrix @ x,
        np.clip(np.zeros(len(at)), low + 1e-9, high - 1e-9),
        jac=lambda _: matrix,
        bounds=(np.minimum(low, -1e-6), np.maximum(high, 1e-6)),
        loss="soft_l1",
        f_scale=_TOLERANCE,
    )
    clipped = np.clip(at + result.x, at + low, at + high)
    return np.asarray(np.exp(clipped), np.float64)
