"""FlexFlow's own strategy files: the text format that its public code reads and writes.

The format is that of ``load_strategies_from_file`` and ``save_strategies_to_file`` in
``src/runtime/strategy.cc`` of FlexFlow (the C++ code on Legion that followed the paper; its 2019
versions wrote the same fields as protocol buffers, which are not read here). Words are separated
by blanks or line ends: the number of operators; then for each its name, the device type (0: GPU,
1: CPU), the number of dimensions of its output tensor, the degree along each, **innermost
first**, the number of devices (all parts, or 0 for the first ones) and their ids, the part along
the innermost dimension changing fastest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path

import numpy as np

from flexsim.errors import StrategyError
from flexsim.files import whole_file
from flexsim.operator_graph.axes import Axis, axis_dims
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Operator, Use
from flexsim.strategy.config import ParallelConfig
from flexsim.strategy.strategy import Strategy, check_strategy

GPU = 0


def write_flexflow(path: Path, strategy: Strategy, graph: OperatorGraph) -> None:
    """Write the configs of a strategy as FlexFlow's text.

    Raise :class:`StrategyError` where that format has no word for a config: degrees along a
    dimension that the output lacks, copies of parts, stages or microbatches.
    """
    if strategy.num_stages > 1 or strategy.num_microbatches > 1:
        raise StrategyError("FlexFlow's strategy files know neither stages nor microbatches")
    lines = [str(len(graph.operators))]
    for operator in graph.operators:
        lines += _lines(operator, strategy.configs[operator.name], graph)
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_flexflow(path: Path, graph: OperatorGraph, num_devices: int) -> Strategy:
    """Return the strategy of a FlexFlow text file for a model whose operators it names.

    Raise :class:`StrategyError` in one sentence where it is malformed or does not fit.
    """
    try:
        words = iter(path.read_text(encoding="utf-8").split())
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise StrategyError(f"{path}: cannot be read: {reason}") from problem
    try:
        configs = _configs(words, graph)
        strategy = Strategy(path.stem, configs, recompute=())
        check_strategy(strategy, graph, num_devices)
    except StrategyError as problem:
        raise StrategyError(f"{path}: {problem}") from problem
    return strategy


def _configs(words: Iterator[str], graph: OperatorGraph) -> dict[str, ParallelConfig]:
    configs: dict[str, ParallelConfig] = {}
    for _ in range(_number(words, "number of operators")):
        name, config = _entry(words, graph)
        if name in configs:
            raise StrategyError(f"operator {name!r} has several entries")
        configs[name] = config
    return configs


def output_axes(operator: Operator, graph: OperatorGraph) -> Use:
    """Return how an operator writes its output: what others read, or else what it writes last."""
    writes = [use for step in operator.forward for use in step.writes]
    read = [use for use in writes if set(graph.readers.get(use.tensor, ())) - {operator.name}]
    return read[0] if read else writes[-1]


def _lines(operator: Operator, config: ParallelConfig, graph: OperatorGraph) -> list[str]:
    axes = [config_axes(config, axis) for axis in output_axes(operator, graph).axes]
    degrees = [config.mesh.degree(names) for names in axes]
    if prod(degrees) != config.mesh.size:
        raise StrategyError(
            f"operator {operator.name!r} has {config.mesh.size} parts, but its output is cut in "
            f"{prod(degrees)}: FlexFlow's strategy files know no sums of parts and no copies"
        )
    part = config.mesh.part_index([name for names in axes for name in names])
    devices = config.mesh.flat[np.argsort(part)].tolist()
    return [
        operator.name,
        str(GPU),
        str(len(degrees)),
        "\t".join(str(degree) for degree in reversed(degrees)),
        str(len(devices)),
        "\t".join(str(device) for device in devices),
    ]


def config_axes(config: ParallelConfig, axis: Axis) -> tuple[str, ...]:
    """Return the mesh axes that split a tensor axis, major first."""
    return tuple(name for dim in axis_dims(axis) for name in config.axes(dim))


def _entry(words: Iterator[str], graph: OperatorGraph) -> tuple[str, ParallelConfig]:
    name = _word(words, "an operator's name")
    if name not in graph.by_name:
        raise StrategyError(f"the model has no operator {name!r}")
    if _number(words, f"{name}: device type") != GPU:
        raise StrategyError(f"operator {name!r} runs on CPUs, which no device graph has")
    degrees = [_number(words, f"{name}: degree") for _ in range(_number(words, f"{name}: dims"))]
    count = _number(words, f"{name}: number of devices")
    devices = [_number(words, f"{name}: device") for _ in range(count)]
    if count not in (0, prod(degrees)):
        raise StrategyError(f"operator {name!r} has {prod(degrees)} parts on {count} devices")
    config = _config(graph.by_name[name], graph, degrees[::-1], devices or range(prod(degrees)))
    return name, config


def _config(
    operator: Operator, graph: OperatorGraph, degrees: Sequence[int], devices: Sequence[int]
) -> ParallelConfig:
    axes = output_axes(operator, graph).axes
    if len(axes) != len(degrees):
        raise StrategyError(
            f"operator {operator.name!r} writes {len(axes)} dimensions, but {len(degrees)} are cut"
        )
    by_dim: dict[str, int] = {}
    for axis, degree in zip(axes, degrees, strict=True):
        by_dim |= _shared_out(operator, axis, degree)
    return ParallelConfig.from_degrees(by_dim, devices)


def _shared_out(operator: Operator, axis: Axis, degree: int) -> dict[str, int]:
    """Return the degrees of an axis's dimensions: the major ones are cut first, and whole."""
    degrees: dict[str, int] = {}
    rest = 0
    for dim in axis_dims(axis):
        here = min(degree, operator.sizes[dim])
        degrees[dim], rest = here, degree % here
        degree //= here
        if rest:
            break
    if degree > 1 or rest:
        raise StrategyError(f"operator {operator.name!r} cannot be cut so along {axis}")
    return degrees


def _number(words: Iterator[str], what: str) -> int:
    word = _word(words, what)
    if not word.isascii() or not word.isdigit():
        raise StrategyError(f"{what} should be a whole number, not {word!r}")
    return int(word)


def _word(words: Iterator[str], what: str) -> str:
    found = next(words, None)
    if found is None:
        raise StrategyError(f"the file ends where it should say: {what}")
    return found
