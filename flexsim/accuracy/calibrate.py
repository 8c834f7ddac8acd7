"""Fitting a profile's few constants to measured runs.

    found = calibrate("runs.csv", "A100", constants=["sustained_factor"])
    found.save("profiles/mine.toml")

Least squares of log(simulated / measured) with a robust loss (soft L1, beyond 10 % the pull of a
run grows no more than linearly), over the logarithms of the constants, between their bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexsim.accuracy.calibrate_constants import (
    CalibrationError,
    Constant,
    chosen,
    constants_of,
)
from flexsim.accuracy.calibrate_fit import ROWS_PER_CONSTANT, check_told, cross_validated, fitted
from flexsim.accuracy.calibrate_subject import Subject, subject_of
from flexsim.accuracy.calibrate_text import with_heading
from flexsim.accuracy.calibrate_trials import Report, Trials
from flexsim.accuracy.runs import Run, Unsimulatable, read_runs
from flexsim.files import whole_file

DEFAULT_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Calibration:
    """A fitted profile, and how far its simulations lie from the runs."""

    subject: Subject
    source: str
    constants: tuple[Constant, ...]
    before: NDArray[np.float64]
    """Values of the constants before the fit, and ``after`` it."""
    after: NDArray[np.float64]
    errors_before: NDArray[np.float64]
    """Simulated over measured time of every run, less one."""
    errors_after: NDArray[np.float64]
    errors_held_out: NDArray[np.float64]
    """The same of every run with constants that were fitted without it and its fold."""
    row_ids: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    """Runs that were left out, and why."""
    text: str
    """The fitted profile's file, without its own heading."""

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Return everything as plain values; errors are fractions."""
        return {
            "profile": str(self.subject.replaces),
            "kind": self.subject.kind,
            "runs": self.source,
            "num_rows": len(self.row_ids),
            "skipped": [{"row_id": name, "reason": why} for name, why in self.skipped],
            "constants": {
                c.name: {"unit": c.unit, "before": float(b), "after": float(a)}
                for c, b, a in zip(self.constants, self.before, self.after, strict=True)
            },
            "before": _summary(self.errors_before),
            "after": _summary(self.errors_after),
            "cross_validated": _summary(self.errors_held_out),
        }

    def save(self, path: str | Path) -> Path:
        """Write the profile, whole or not at all; it is read back as a check."""
        target = Path(path)
        text = with_heading(self.text, self._heading(), target.stem)
        with whole_file(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
        assert Subject(self.subject.kind, target, "").profile.name == target.stem
        return target

    def _heading(self) -> list[str]:
        names = ", ".join(constant.name for constant in self.constants)
        count = len(self.row_ids)
        return [
            f"{self.subject.replaces}, fitted to {count} runs of {self.source}: {names}.",
            *(_sentence(self.facts[key], said) for key, said in _SAID.items()),
            "All other constants are those of the profile that it was fitted from.",
        ]


_SAID = {
    "before": "before the fit",
    "after": "after it",
    "cross_validated": "of runs left out of the fit (cross-validation)",
}


def _sentence(errors: dict[str, float], said: str) -> str:
    """Return the comment on some errors."""
    numbers = (f"{errors[key]:.1%}" for key in ("mean_absolute_error", "worst"))
    return "Mean absolute error {}, worst {}: {}.".format(*numbers, said)


def _summary(errors: NDArray[np.float64]) -> dict[str, float]:
    absolute = np.abs(errors)
    return {
        "mean_absolute_error": float(absolute.mean()),
        "median_absolute_error": float(np.median(absolute)),
        "mean_error": float(errors.mean()),
        "worst": float(absolute.max()),
    }


def calibrate(
    runs: str | Path,
    profile: str,
    constants: Sequence[str] = (),
    folds: int = DEFAULT_FOLDS,
    report: Report = lambda _: None,
) -> Calibration:
    """Fit constants of a profile to the runs of a CSV file that use it.

    ``profile`` is a software profile, a device type (or the beginning of its name), a kind of
    link of it (``A100.nvlink``), or a file. ``report`` is told what is done. Raise
    :class:`CalibrationError` where the runs do not tell the constants.
    """
    found, skipped = usable_runs(read_runs(runs))
    subject = subject_of(profile, [scenario for _, scenario in found])
    used = [run for run, scenario in found if subject.is_used_by(scenario)]
    known = constants_of(subject.kind, subject.links, subject.link)
    wanted = chosen(constants, subject.kind, known)
    _check_counts(wanted, used, folds)
    with Trials(subject, used, wanted, report) as trials:
        start = np.array([subject.start(constant) for constant in wanted])
        check_told(trials, start)
        fit = fitted(trials, start)
        held_out = cross_validated(trials, fit, folds)
        return Calibration(
            subject=subject,
            source=Path(runs).name,
            constants=tuple(wanted),
            before=start,
            after=fit.values,
            errors_before=_errors(trials, start),
            errors_after=_errors(trials, fit.values),
            errors_held_out=np.expm1(held_out),
            row_ids=tuple(run.row_id for run in used),
            skipped=tuple(skipped),
            text=trials.text(fit.values),
        )


def _check_counts(constants: Sequence[Constant], runs: Sequence[Run], folds: int) -> None:
    """Raise :class:`CalibrationError` for more constants, or folds, than the runs can hold."""
    needed = ROWS_PER_CONSTANT * len(constants)
    if len(runs) < needed:
        raise CalibrationError(
            f"{len(runs)} runs cannot hold {len(constants)} constants: every constant takes"
            f" {ROWS_PER_CONSTANT} runs at least, so {needed}; name fewer in --constants"
        )
    if not 2 <= folds <= len(runs):
        raise CalibrationError(f"--folds {folds}: choose from 2 to {len(runs)}, the number of runs")


def _errors(trials: Trials, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.expm1(trials.log_ratios(values)), np.float64)


def usable_runs(runs: Sequence[Run]) -> tuple[list[tuple[Run, Any]], list[tuple[str, str]]]:
    """Return the runs with a measured time and their scenarios, and why the others have none."""
    found, skipped = [], []
    for run in runs:
        scenario = run.scenario()
        if isinstance(scenario, Unsimulatable):
            skipped.append((run.row_id, scenario.reason))
        elif run.measured_ns is None:
            skipped.append((run.row_id, "no measured time of an iteration"))
        else:
            found.append((run, scenario))
    return found, skipped
