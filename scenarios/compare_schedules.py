"""GPipe against 1F1B on one model: the same bubbles, very different memory.

Run it with ``python scenarios/compare_schedules.py [directory]``; it writes comparison.png and
comparison.csv.
"""

import sys
from pathlib import Path

import flexsim
from flexsim.plotting import compared_run, save_comparison
from flexsim.units import format_bytes, format_seconds

SETTING = {
    "model": {"preset": "gpt-7.5b", "layers": 32},
    "cluster": {"device_graph": "dgx-a100", "hosts": 1},
    "training": {"global_batch": 16, "micro_batch": 1, "recompute": "full"},
    "strategy": {"name": "megatron", "tensor": 1, "pipeline": 8},
}


def simulated(schedule: str) -> flexsim.Result:
    """Return the result of the setting under a schedule."""
    strategy = {**SETTING["strategy"], "schedule": schedule}
    return flexsim.run(flexsim.Scenario.from_dict({**SETTING, "strategy": strategy}))


def main(directory: Path) -> None:
    """Simulate both schedules, print a line each and draw one below the other."""
    results = {schedule: simulated(schedule) for schedule in ("gpipe", "1f1b")}
    for schedule, result in results.items():
        print(_line(schedule, result))
    runs = [compared_run(schedule, result) for schedule, result in results.items()]
    for path in save_comparison(runs, directory):
        print(f"wrote {path}")


def _line(schedule: str, result: flexsim.Result) -> str:
    metrics = result.metrics
    return (
        f"{schedule}: {format_seconds(metrics['iteration_time_s'])}, "
        f"bubble {metrics['bubble_fraction']:.1%}, "
        f"peak memory {format_bytes(metrics['peak_memory_bytes'])}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "plots/compare-schedules"))
