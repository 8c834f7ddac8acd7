"""Tiled graphs against plain loops over actions, members and devices."""

from __future__ import annotations

import numpy as np
import pytest
from small_gpt import simulate_small

from flexsim.task_graph.columns import TaskGraph
from flexsim.task_graph.plan import Plan

STRATEGIES = {
    "folded": {},
    "unfolded": {"fold": False},
    "interleaved": {"chunks": 2, "schedule": "interleaved-1f1b"},
    "blocking transfers": {"blocking_transfers": True, "fold": False},
    "gradients at the end": {"overlap_gradients": False},
    "gradients beside": {"overlap_gradients": True},
    "one rank": {"pipeline": 1, "data": 4},
}


@pytest.fixture
def tiled(monkeypatch):
    """A function that returns the plan and the graph of the small model under a strategy."""
    kept: list[tuple[Plan, TaskGraph]] = []
    tile = Plan.task_graph

    def keep(plan: Plan) -> TaskGraph:
        kept.append((plan, tile(plan)))
        return kept[-1][1]

    def run(**strategy):
        simulate_small(strategy=strategy)
        return kept[-1]

    monkeypatch.setattr(Plan, "task_graph", keep)
    return run


@pytest.mark.parametrize("name", STRATEGIES)
def test_columns_repeat_the_templates(tiled, name):
    plan, graph = tiled(**STRATEGIES[name])
    templates, task = plan.templates, 0
    for action, template in enumerate(plan.actions.template):
        assert plan.actions.base[action] == task
        for member in range(templates.offsets[template], templates.offsets[template + 1]):
            assert graph.action[task] == action
            for column in ("operator", "kind", "part", "duration_ns", "num_bytes"):
                assert getattr(graph, column)[task] == getattr(templates, column)[member]
            assert np.array_equal(graph.resources.row(task), templates.held.row(member))
            task += 1
    assert task == graph.num_tasks
    dtypes = [graph.resources.offsets.dtype, graph.resources.values.dtype, graph.kind.dtype]
    assert dtypes == [np.int64, np.int32, np.uint8]


@pytest.mark.parametrize("name", STRATEGIES)
def test_successors_are_those_of_plain_loops(tiled, name):
    plan, graph = tiled(**STRATEGIES[name])
    edges = sorted([*_data_edges(plan), *_order_edges(plan)])
    rows = graph.successors.rows.tolist()
    assert sorted(zip(rows, graph.successors.values.tolist(), strict=True)) == edges
    in_degree = np.bincount([target for _, target in edges], minlength=graph.num_tasks)
    assert graph.in_degree.tolist() == in_degree.tolist()


def _place(plan: Plan, member: int) -> tuple[int, int]:
    """Return the template of a member and its number within."""
    template = int(np.searchsorted(plan.templates.offsets, member, side="right")) - 1
    return template, member - int(plan.templates.offsets[template])


def _data_edges(plan: Plan):
    actions = plan.actions
    keys = list(zip(actions.template.tolist(), actions.table.microbatch.tolist(), strict=True))
    templates = plan.templates
    for source, target in zip(templates.sources.tolist(), templates.targets.tolist(), strict=True):
        (first, before), (second, after) = _place(plan, source), _place(plan, target)
        once = second >= 2 * templates.num_stages
        froms = [a for a, key in enumerate(keys) if key[0] == first]
        for action in froms[-1:] if once else froms:
            follower = keys.index((second, -1 if once else keys[action][1]))
            yield int(actions.base[action]) + before, int(actions.base[follower]) + after


def _order_edges(plan: Plan):
    actions = plan.actions
    for action, first in enumerate(actions.template.tolist()):
        begin = int(actions.first_of_next[action])
        for follower in range(begin, begin + int(actions.num_next[action])):
            for left, right in _joints(plan, first, int(actions.template[follower])):
                yield int(actions.base[action]) + left, int(actions.base[follower]) + right


def _joints(plan: Plan, first: int, second: int):
    """Return the pairs of members that share a device, each once for two sides that meet."""
    before, after = plan.templates.ends[first], plan.templates.ends[second]
    is_end = second >= 2 * plan.templates.num_stages and not plan.overlap_gradients
    sides = [(before.tails, after.heads) if is_end else (before.exits, after.entries)]
    if plan.schedule.blocking_transfers:
        sides.append((before.sends, after.entries))
    for one, other in sides:
        pairs = [(one.devices.tolist(), one.members.tolist())]
        left = list(zip(*pairs[0], strict=True))
        right = list(zip(other.devices.tolist(), other.members.tolist(), strict=True))
        yield from sorted({(m, n) for d, m in left for e, n in right if d == e})
