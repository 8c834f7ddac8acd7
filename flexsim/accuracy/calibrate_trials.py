"""Simulating runs with other constants: one trial a set of values."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from flexsim.accuracy.calibrate_constants import CalibrationError, Constant
from flexsim.accuracy.calibrate_subject import Subject
from flexsim.accuracy.calibrate_text import with_constants
from flexsim.accuracy.runs import Run, Unsimulatable, scenario_of
from flexsim.errors import DeviceGraphError
from flexsim.files import find_file
from flexsim.scenario.batch import Batch
from flexsim.units import NS_PER_S

Float = NDArray[np.float64]
Values = Sequence[float] | Float
Report = Callable[[str], None]


class Trials:
    """Simulates runs with trial values of a profile's constants; remembers what it has done.

    Profiles and device graphs of a trial are files in a temporary directory; use it as a
    context.
    """

    def __init__(
        self, subject: Subject, runs: Sequence[Run], constants: Sequence[Constant], report: Report
    ) -> None:
        """Take the runs that use the profile; nothing is simulated yet."""
        self.subject, self.runs, self.constants = subject, list(runs), list(constants)
        self.measured_s = np.array([(run.measured_ns or 0) / NS_PER_S for run in runs])
        self._report = report
        self._text = subject.path.read_text(encoding="utf-8")
        self._directory = tempfile.TemporaryDirectory(prefix="flexsim-calibrate-")
        self._done: dict[tuple[tuple[float, ...], bytes], Float] = {}

    def __enter__(self) -> Trials:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._directory.cleanup()

    @property
    def num_trials(self) -> int:
        """How many sets of values were simulated."""
        return len(self._done)

    def text(self, values: Values) -> str:
        """Return the text of the profile with some values of its constants."""
        texts = {c.name: c.text(v) for c, v in zip(self.constants, values, strict=True)}
        return with_constants(self._text, texts)

    def log_ratios(self, values: Values, rows: NDArray[np.intp] | None = None) -> Float:
        """Return the logarithm of simulated over measured times of ``rows``, or of all runs."""
        chosen = np.arange(len(self.runs)) if rows is None else rows
        rounded = tuple(c.rounded(v) for c, v in zip(self.constants, values, strict=True))
        key = rounded, chosen.tobytes()
        if key not in self._done:
            pairs = zip(self.constants, rounded, strict=True)
            shown = ", ".join(f"{c.name} {value:g} {c.unit}".rstrip() for c, value in pairs)
            self._report(f"trial {self.num_trials + 1}, {len(chosen)} runs: {shown}")
            self._done[key] = np.log(self._simulated_s(rounded, chosen) / self.measured_s[chosen])
        return self._done[key]

    def _simulated_s(self, values: Sequence[float], rows: NDArray[np.intp]) -> Float:
        path = Path(self._directory.name) / f"trial-{self.num_trials}.toml"
        path.write_text(self.text(values), encoding="utf-8")
        batch = Batch()
        return np.array([self._seconds(batch, self.runs[row], path) for row in rows])

    def _seconds(self, batch: Batch, run: Run, path: Path) -> float:
        scenario = scenario_of(run, self._changes(run, path))
        if isinstance(scenario, Unsimulatable):
            raise CalibrationError(f"{run.row_id}: {scenario.reason}")
        outcome = batch.run(scenario)
        if outcome.error:
            raise CalibrationError(f"{run.row_id}: {outcome.error}")
        return float(outcome.metrics["iteration_time_s"])

    def _changes(self, run: Run, profile: Path) -> Mapping[str, str]:
        """Return the keys of a run's scenario that lead to the trial's profile."""
        if self.subject.kind == "software":
            return {"training.software": str(profile)}
        scenario = run.scenario()
        assert not isinstance(scenario, Unsimulatable)
        graph = scenario.cluster.device_graph
        return {"cluster.device_graph": str(self._graph(graph, profile))}

    def _graph(self, name: str, profile: Path) -> Path:
        """Return a copy of a device graph whose devices have the trial's profile."""
        source = find_file("device_graphs", name, DeviceGraphError, "device graph")
        copy = profile.with_name(f"{profile.stem}-{source.name}")
        if not copy.exists():
            own = rf'(device_type\s*=\s*)"{re.escape(self.subject.replaces)}"'
            text = source.read_text(encoding="utf-8")
            copy.write_text(re.sub(own, rf'\1"{profile.as_posix()}"', text), encoding="utf-8")
        return copy
