"""How a strategy follows its graph when a rule replaces operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.operator_graph.graph import SAMPLE_DIM
from flexsim.operator_graph.transformations import Rewrite, Site
from flexsim.search.objective import Configs
from flexsim.search.units import Unit, find_units
from flexsim.strategy import ParallelConfig, Strategy


def stays_together(strategy: Strategy, site: Site) -> bool:
    """Whether operators are on one stage, and recomputed in one run or not at all."""
    run_of = {name: k for k, names in enumerate(strategy.recompute) for name in names}
    stages = {strategy.stage_of.get(name, 0) for name in site}
    return len(stages) == 1 and len({run_of.get(name) for name in site}) == 1


def inherited_strategy(
    before: OperatorGraph, after: OperatorGraph, strategy: Strategy, rewrites: Sequence[Rewrite]
) -> Strategy:
    """Return a strategy for the graph after ``rewrites``: configs, stages and recomputed runs."""
    new_name = {n: r.operator.name for r in rewrites if r.operator for n in r.replaced}
    gone = {name for r in rewrites for name in r.replaced} - new_name.keys()
    stages = {new_name.get(name, name): stage for name, stage in strategy.stage_of.items()}
    runs = (
        tuple(dict.fromkeys(new_name.get(name, name) for name in run if name not in gone))
        for run in strategy.recompute
    )
    return replace(
        strategy,
        configs=inherited_configs(before, after, strategy.configs, rewrites),
        stage_of={name: stage for name, stage in stages.items() if name not in gone},
        recompute=tuple(run for run in runs if run),
    )


def inherited_configs(
    before: OperatorGraph, after: OperatorGraph, configs: Configs, rewrites: Sequence[Rewrite]
) -> dict[str, ParallelConfig]:
    """Return a config an operator of the graph after ``rewrites``, in program order.

    A new operator is cut as the one of its kind that it replaces, but replicated along what it
    must keep whole. Operators that share a weight with it, and so its config, follow.
    """
    new = {r.operator.name: _origin(before, r) for r in rewrites if r.operator}
    found = {op.name: configs[new.get(op.name, op.name)] for op in after.operators}
    for unit in find_units(after) if new else ():
        if any(op.name in new for op in unit.operators):
            found |= _fitted(unit, found)
    return found


def _origin(before: OperatorGraph, rewrite: Rewrite) -> str:
    """Return the replaced operator whose config is inherited."""
    assert rewrite.operator is not None
    kind = rewrite.operator.kind
    return next(name for name in rewrite.replaced if before.by_name[name].kind == kind)


def _fitted(unit: Unit, configs: Mapping[str, ParallelConfig]) -> dict[str, ParallelConfig]:
    """Return configs that a unit's operators accept, together where they lie on one mesh."""
    if unit.is_on_one_mesh(configs):
        return unit.configs(_accepted(unit, unit.config(configs)))
    alone = [_alone(unit, operator) for operator in unit.operators]
    return {each.name: _accepted(each, configs[each.name]) for each in alone}


def _alone(unit: Unit, operator: Operator) -> Unit:
    own = tuple(dim for dim in unit.dims if dim.name in operator.sizes)
    return Unit(operator.name, (operator,), own)


def _accepted(unit: Unit, config: ParallelConfig) -> ParallelConfig:
    """Return a config without the cuts that a unit cannot have; parts are copied instead."""
    kept = {
        dim: axes for dim, axes in config.splits if config.degree(dim) <= unit.limits.get(dim, 0)
    }
    samples = {dim: axes for dim, axes in kept.items() if dim == SAMPLE_DIM}
    choices = (ParallelConfig.of(config.mesh, splits) for splits in (kept, samples, {}))
    return next(choice for choice in choices if unit.accepts(choice))
