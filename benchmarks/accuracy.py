"""Simulate every shipped scenario with published times and write the comparison as Markdown.

    python benchmarks/accuracy.py > docs/accuracy.md

Takes some minutes: the largest scenarios have millions of tasks.
"""

from collections.abc import Iterator
from pathlib import Path

import flexsim
from flexsim.files import data_directory
from flexsim.task_graph.kinds import ACTION_CODE
from flexsim.timeline.memory import action_spans_ns
from flexsim.units import NS_PER_S

FAMILIES = {
    "gpt3-175b-64xa100": "Korthikanti et al. 2022, Table 5",
    "korthikanti-22b-layer": "Korthikanti et al. 2022, Table 4 (one layer)",
    "korthikanti": "Korthikanti et al. 2022, Table 5",
    "sc21": "Narayanan et al. 2021, Table 1",
    "mt-nlg": "Smith et al. 2022, section 2.4",
    "shoeybi": "Shoeybi et al. 2019, Figure 5 and abstract",
    "palm": "Chowdhery et al. 2022, Table 3 (PaLM)",
    "gopher": "Rae et al. 2021 (Gopher)",
    "llama3": "Grattafiori et al. 2024, Table 4 (Llama 3)",
    "mixtral": "Megatron-Core's figures for Mixtral 8x7B",
    "deepseek": "DeepSeek-AI 2024 (DeepSeek-V3)",
}
HEADER = """# Accuracy

Simulated against published times, one A100, one V100 and one profile of each software stack for
all. Written by `python benchmarks/accuracy.py`. Errors are of time: a positive one means that the
simulation is too slow. Published TFLOP/s were turned into times with the executed FLOPs.

Published numbers were compared with a second copy where one was at hand: Korthikanti's times of
Tables 4 and 5, MT-NLG's, the SC'21 runs 1.7B, 7.5B, 39B, 145B and 530B, and Shoeybi's 1.2B, 4.2B
and the 8.3B run on 512 devices. The other SC'21 rows (rates, micro-batches, chunks), Shoeybi's
2.5B and eight-device 8.3B efficiencies and Korthikanti's 530B utilizations are quoted from memory
of the papers; check them before you rely on them.

The TPU v4 profile has one fitted number, the sustained factor: 0.77 gives PaLM's MFU, so that row
checks the rest of the model only. PaLM recomputed less than a whole forward (its HFU is 1.25 times
its MFU, with full recomputation it is 1.36), which the factor hides. TPU v3 takes the factor over.
For Gopher it is not published how a pod was divided between model and data parallelism, nor the
microbatches: with the 16 x 64 of the scenario the MFU is 38.6 % against 32.5 %; with 8, 32 and 64
ways of model parallelism it is 40.5, 39.8 and 32.6 %.
"""


def main() -> None:
    """Print a table a family and a summary line each."""
    print(HEADER)
    families: dict[str, list[tuple[str, float, float]]] = {}
    for path in sorted(data_directory("scenarios").glob("*.toml")):
        prefix = next((p for p in FAMILIES if path.stem.startswith(p)), None)
        if prefix is not None:
            families.setdefault(FAMILIES[prefix], []).extend(compared(path))
    for family, rows in families.items():
        print_family(family, rows)


def compared(path: Path) -> Iterator[tuple[str, float, float]]:
    """Yield (name, simulated, published) times in seconds of one scenario."""
    scenario = flexsim.load_scenario(path)
    published = scenario.published
    if published is None:
        return
    result = flexsim.run(scenario)
    simulated = result.metrics["iteration_time_s"]
    if published.iteration_time_s is not None:
        yield path.stem, simulated, published.iteration_time_s
    elif published.tflops_per_device is not None:
        flops = result.metrics["hardware_flops"] / result.metrics["num_devices"]
        yield path.stem, simulated, flops / (published.tflops_per_device * 1e12)
    passes = {"F": published.forward_time_s, "B": published.backward_time_s}
    for kind, measured in passes.items():
        if measured is not None:
            yield f"{path.stem}, {kind}", action_time_s(result, kind), measured


def action_time_s(result: flexsim.Result, kind: str) -> float:
    """Return the mean time of one action of a kind, from its first task to its last."""
    start_ns, end_ns = action_spans_ns(result.timeline)
    rows = result.task_graph.actions.kind == ACTION_CODE[kind]
    return float((end_ns - start_ns)[rows].mean()) / NS_PER_S


def print_family(family: str, rows: list[tuple[str, float, float]]) -> None:
    """Print one family's table and its mean and worst absolute error."""
    errors = [simulated / published - 1 for _, simulated, published in rows]
    print(f"\n## {family}\n\n| scenario | simulated | published | error |\n|---|--:|--:|--:|")
    for (name, simulated, published), error in zip(rows, errors, strict=True):
        print(f"| {name} | {simulated:.4g} s | {published:.4g} s | {error:+.1%} |")
    mean = sum(map(abs, errors)) / len(errors)
    print(f"\nMean absolute error {mean:.1%}, worst {max(map(abs, errors)):.1%}.", flush=True)


if __name__ == "__main__":
    main()
