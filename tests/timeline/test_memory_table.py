"""What devices hold throughout, and what passes add: against a sum device by device."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.task_graph.columns import DYNAMIC_PARTS, StaticMemory
from flexsim.timeline.memory_table import PARTS, STATIC_PARTS, Throughout

NUMBERS = st.integers(0, 10**12)
MAYBE = st.booleans()


@st.composite
def memories(draw):
    """Return devices, static memory of some of them, and what passes add to each."""
    devices = np.array(sorted(draw(st.sets(st.integers(0, 50), min_size=1, max_size=6))))
    known = [each for each in devices.tolist() if draw(MAYBE)]

    def column():
        return np.array([draw(NUMBERS) for _ in known], np.int64)

    def some():
        return column() if draw(MAYBE) else None

    static = StaticMemory(
        np.array(known, np.int32),
        column(),
        column(),
        column(),
        framework=some(),
        buffers=some(),
        step=some(),
        fragmentation=draw(st.sampled_from([0.0, 0.05, 0.5])),
    )
    dynamic = np.array([[draw(NUMBERS) for _ in DYNAMIC_PARTS] for _ in devices], np.int64)
    return devices, static, dynamic


def of_device(static: StaticMemory, device: int, dynamic: list[int]) -> tuple[dict[str, int], bool]:
    """Return the parts of one device, and whether it holds most while the optimizer steps."""
    rows = np.flatnonzero(static.device == device)

    def held(column):
        return 0 if column is None or not len(rows) else int(column[rows[0]])

    step = held(static.step)
    if step > sum(dynamic):
        dynamic = [step if part == "temporary" else 0 for part in DYNAMIC_PARTS]
        steps = True
    else:
        steps = False
    parts = {part: held(getattr(static, part)) for part in STATIC_PARTS}
    parts |= dict(zip(DYNAMIC_PARTS, dynamic, strict=True))
    parts["overhead"] = round(sum(dynamic) * static.fragmentation) + held(static.framework)
    parts["buffers"] += held(static.buffers)
    return parts, steps


@settings(max_examples=60, deadline=None)
@given(memories())
def test_a_table_has_the_parts_of_every_device(given_memory):
    devices, static, dynamic = given_memory
    before = dynamic.copy()
    parts, steps = Throughout.of(static, devices).with_dynamic(dynamic)
    for row, device in enumerate(devices.tolist()):
        expected = of_device(static, device, before[row].tolist())
        assert (dict(zip(PARTS, parts[row].tolist(), strict=True)), bool(steps[row])) == expected
    assert (dynamic == before).all()


def test_buffers_are_added_to_a_copy():
    none = np.zeros(2, np.int64)
    table = Throughout.of(StaticMemory(np.array([3, 5], np.int32), none, none, none), np.arange(6))
    more = table.with_buffers(np.arange(6))
    assert more.parts[:, PARTS.index("buffers")].tolist() == [0, 1, 2, 3, 4, 5]
    assert not table.parts.any()
