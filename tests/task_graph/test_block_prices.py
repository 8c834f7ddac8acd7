"""What steps take is looked up by degrees where parts are alike, and is always what is priced."""

from __future__ import annotations

import random

import numpy as np
import pytest
from engine.delta_walk import any_config, problem, single_units

from flexsim.strategy import Mesh, ParallelConfig
from flexsim.task_graph.blocks import Blocks

ONE = Mesh(("x0",), [0])


def begun(searched):
    """Return a program in blocks that runs everything on one device."""
    blocks = Blocks(searched.graph, searched.base, searched.devices, searched.costs)
    blocks.start({op.name: ParallelConfig.of(ONE, {}) for op in searched.graph.operators})
    return blocks


@pytest.mark.parametrize("family", ["lenet", "candle-uno", "xdl"])
def test_steps_take_what_they_are_priced_at(family):
    rng = random.Random(family)
    searched = problem(family, 8, rng)
    blocks, looked_up = begun(searched), 0
    pricing, prices = blocks.program.pricing, blocks._prices
    for unit in 12 * single_units(searched.graph)[:6]:
        config = any_config(unit, 8, rng)
        if not unit.accepts(config):
            continue
        (operator,) = unit.operators
        found = prices.find(operator, config)
        steps = prices._steps[operator.name]
        wanted = [pricing.compute(operator, config, step).duration_ns for step in steps]
        for stint, duration_ns in zip(found.stints, wanted, strict=True):
            np.testing.assert_array_equal(stint.duration_ns, duration_ns)
        assert found.load_ns.sum() == sum(int(each.sum()) for each in wanted)
        looked_up += any(each is not None for each in prices._of_even_parts.values())
    assert looked_up


def test_the_most_work_is_that_after_a_change():
    rng = random.Random(2)
    searched = problem("vgg", 8, rng, layers=16)
    blocks = begun(searched)
    for unit in single_units(searched.graph):
        config = any_config(unit, 8, rng)
        if unit.accepts(config):
            most_ns = blocks._prices.most_ns_with(unit.configs(config))
            assert blocks.change(unit.configs(config))
            assert most_ns == int(blocks._prices.load_ns.sum(0).max())
