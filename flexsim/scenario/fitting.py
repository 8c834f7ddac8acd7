"""What would make a scenario fit that does not: every way by itself, then all that save together.

Each is simulated, on no more microbatches than fill the pipeline a few times, which is when most is
held; so is the scenario as it is, so that the times can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import process_time
from typing import TYPE_CHECKING, Any

from flexsim.errors import FlexSimError
from flexsim.scenario.schema import Scenario
from flexsim.units import format_bytes

if TYPE_CHECKING:
    from flexsim.scenario.batch import Outcome

_ROUNDS = 3
"""Times that microbatches fill the pipeline."""
_MOST_TOLD = 3
_LONGEST_S = 5.0
"""Seconds of computing after which no further way is begun."""
_FACTORS = (2, 4, 8, 16, 32, 64)
"""Times the hosts, where nothing fits on those that there are."""
_RECOMPUTE = ("none", "selective", "full")

Changes = Mapping[str, Any]
"""Keys such as ``"strategy.zero"`` and their new values."""


@dataclass(frozen=True)
class Way:
    """Keys that make a scenario fit, its peak then, and its time relative to the scenario's."""

    changes: Changes
    peak_bytes: int
    relative_time: float

    @property
    def keys(self) -> str:
        """The changes as a file has them."""
        return ", ".join(f"{key} = {_toml(value)}" for key, value in self.changes.items())

    def __str__(self) -> str:
        more = f"{100 * (self.relative_time - 1):+.1f} % time"
        return f"{self.keys} ({format_bytes(self.peak_bytes)}, {more})"


@dataclass(frozen=True)
class Advice:
    """What makes a scenario fit on its devices, the least time first.

    Where nothing does, ``nearest`` is what leaves the least too much, and ``larger`` what would
    fit on more devices.
    """

    ways: Sequence[Way]
    nearest: Way | None = None
    larger: Way | None = None


def advice_on(scenario: Scenario) -> Advice:
    """Return what would help a scenario that does not fit, as far as it can be tried quickly."""
    if scenario.strategy.file is not None or scenario.simulation.network != "analytic":
        return Advice([])
    short = _shortened(scenario)
    singles = list(_singles(short))
    outcomes = _tried(short, [{}, *singles, *_together(short, singles)])
    ways = _fitting(outcomes)
    if ways or not outcomes[0][1].metrics:
        return Advice(ways)
    nearest = min(_ways(outcomes), key=lambda way: (way.peak_bytes, len(way.changes)))
    return Advice([], nearest, _larger(short, nearest, outcomes[0]))


def _tried(scenario: Scenario, tries: Iterable[Changes]) -> list[tuple[Changes, Outcome]]:
    """Simulate the changes that make a scenario."""
    known = [(changes, _changed(scenario, changes)) for changes in tries]
    return _outcomes([(each, changed) for each, changed in known if changed is not None])


def _larger(scenario: Scenario, nearest: Way, base: tuple[Changes, Outcome]) -> Way | None:
    """Return what fits on the fewest more devices: a longer pipeline, or more shards of ZeRO 3."""
    begin = process_time()
    for changes in _on_more_devices(scenario):
        ways = _fitting([base, *_tried(scenario, [changes, {**nearest.changes, **changes}])])
        if ways:
            return ways[0]
        if process_time() - begin > _LONGEST_S:
            break
    return None


def _on_more_devices(scenario: Scenario) -> Iterator[Changes]:
    """Yield changes for 2, 4 … times the hosts: as many times the stages, or the replicas."""
    from flexsim.scenario.prepare import setting_of, sizes_of

    setting = setting_of(scenario)
    sizes, devices = sizes_of(scenario, setting), scenario.cluster.devices
    for factor in _FACTORS:
        more: dict[str, Any] = {"cluster.hosts": factor * setting.devices.num_hosts}
        if devices is not None:
            more["cluster.devices"] = factor * devices
        yield more | {"strategy.pipeline": factor * sizes.pipeline}
        data = {"strategy.data": factor * sizes.data}
        yield more | data | {"strategy.zero": 3}


def _outcomes(tries: list[tuple[Changes, Scenario]]) -> list[tuple[Changes, Outcome]]:
    """Simulate ways in turn, as many as the time allows."""
    from flexsim.scenario.batch import Batch

    batch, begin = Batch(), process_time()
    found: list[tuple[Changes, Outcome]] = []
    for changes, scenario in tries:
        found.append((changes, batch.run(scenario)))
        if process_time() - begin > _LONGEST_S:
            break
    return found


def sentence(advice: Advice, capacity_bytes: int) -> str:
    """Return the cheapest ways as people read them, or what comes nearest."""
    if advice.ways:
        told = "\n".join(f"  {way}" for way in advice.ways[:_MOST_TOLD])
        return f"it would fit, the cheapest way first, with\n{told}"
    told = "no way of recomputation, sharding, sizes or degrees that was tried makes it fit"
    if advice.nearest is not None:
        lacking = format_bytes(advice.nearest.peak_bytes - capacity_bytes)
        keys = advice.nearest.keys or "the scenario as it is"
        told += f"; the nearest lacks {lacking} a device: {keys}"
    if advice.larger is not None:
        told += f"\non more devices it would fit with\n  {advice.larger}"
    return told


def _ways(outcomes: Sequence[tuple[Changes, Outcome]]) -> list[Way]:
    """Return all that could be simulated, its time relative to that of the first."""
    base = outcomes[0][1].metrics
    return [
        Way(
            changes,
            outcome.metrics["peak_memory_bytes"],
            base["tokens_per_s"] / outcome.metrics["tokens_per_s"],
        )
        for changes, outcome in outcomes
        if base and outcome.metrics
    ]


def _fitting(outcomes: Sequence[tuple[Changes, Outcome]]) -> list[Way]:
    fitting = [each for each in outcomes[1:] if each[1].metrics.get("fits_memory")]
    found = _ways([outcomes[0], *fitting])[1:]
    fewest = min((len(way.changes) for way in found), default=0)
    return sorted(
        (way for way in found if len(way.changes) == fewest or fewest > 1),
        key=lambda way: (way.relative_time, way.peak_bytes),
    )


def _shortened(scenario: Scenario) -> Scenario:
    """Return the scenario with fewer microbatches where it has many."""
    from flexsim.scenario.prepare import setting_of, sizes_of

    sizes = sizes_of(scenario, setting_of(scenario))
    few = _ROUNDS * sizes.pipeline * sizes.chunks * 2
    if sizes.num_microbatches <= few or sizes.num_microbatches % sizes.pipeline:
        return scenario
    batch = few * sizes.data * scenario.training.micro_batch
    return _changed(scenario, {"training.global_batch": batch}) or scenario


def _singles(scenario: Scenario) -> Iterator[Changes]:
    """Yield every way by itself."""
    training, strategy = scenario.training, scenario.strategy
    if training.recompute in _RECOMPUTE:
        for policy in _RECOMPUTE[_RECOMPUTE.index(training.recompute) + 1 :]:
            yield {"training.recompute": policy}
        if training.recompute != "full":
            yield {"training.recompute": "best"}
    if strategy.tensor > 1 and not strategy.sequence_parallel:
        yield {"strategy.sequence_parallel": True}
    for stage in range(strategy.zero + 1, 4):
        yield {"strategy.zero": stage}
    half = training.micro_batch // 2
    while half:
        yield {"training.micro_batch": half}
        half //= 2
    yield from _degrees(scenario)
    if not training.offload:
        yield {"training.offload": ["optimizer"]}
        yield {"training.offload": ["activations"]}
    if strategy.pipeline > 1 and strategy.cuts_equally:
        yield {"strategy.balance": "memory"}


def _degrees(scenario: Scenario) -> Iterator[Changes]:
    """Yield more tensor or pipeline ranks in place of replicas."""
    strategy = scenario.strategy
    for key in ("tensor", "pipeline"):
        for factor in (2, 4):
            more: dict[str, Any] = {f"strategy.{key}": factor * getattr(strategy, key)}
            if strategy.data is not None and strategy.data % factor == 0:
                more["strategy.data"] = strategy.data // factor
            elif strategy.data is not None:
                continue
            yield more


def _together(scenario: Scenario, singles: list[Changes]) -> Iterator[Changes]:
    """Yield ways that save different things at once."""
    keep = {"training.recompute": "full", "strategy.sequence_parallel": True, "strategy.zero": 1}
    some = [key for key, value in keep.items() if {key: value} in singles]
    if len(some) > 1:
        yield {key: keep[key] for key in some}
        if "strategy.zero" in some:
            yield {key: keep[key] for key in some} | {"strategy.zero": 3}


def _changed(scenario: Scenario, changes: Changes) -> Scenario | None:
    """Return the scenario with other values; None where they are no scenario."""
    content = scenario.model_dump(by_alias=True, exclude_unset=True, exclude={"published"})
    for key, value in changes.items():
        table, last = key.split(".")
        content.setdefault(table, {})[last] = value
    try:
        return Scenario.from_dict(content, scenario.source)
    except FlexSimError:
        return None


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value).replace("'", '"')
