from types import SimpleNamespace

import numpy as np
import pytest
from graphs import make_task_graph
from rich.console import Console
from scenario_content import changed

from flexsim.scenario.report import summary_table
from flexsim.scenario.schema import Scenario
from flexsim.timeline.spans import Timeline

GIB = 2**30


def stage(rank, activations):
    parts = {"weights": 5 * GIB, "gradients": 10 * GIB, "optimizer": 30 * GIB}
    parts["activations"] = activations * GIB
    return {"stage": rank, "device": 8 * rank, **parts, "total": sum(parts.values())}


def metrics(stages):
    return {
        "iteration_time_s": 13.888,
        "tokens_per_s": 9437.9,
        "samples_per_s": 4.608,
        "model_flops": 1.4e17,
        "hardware_flops": 1.45e17,
        "mfu": 0.508,
        "hfu": 0.522,
        "bubble_fraction": 0.05,
        "compute_fraction": 0.85,
        "exposed_communication_s": {
            "pipeline": 0.3472,
            "tensor": 1.0416,
            "gradient": 0.0,
            "gradient-norm": 4e-5,
        },
        "peak_memory_bytes": max(each["total"] for each in stages),
        "peak_memory_bytes_per_stage": stages,
        "fits_memory": max(each["total"] for each in stages) <= 80 * GIB,
        "num_devices": 64,
        "num_tasks": 123456,
        "num_tasks_folded_away": 864192,
    }


TWO_STAGES = (stage(0, 16), stage(1, 9))


def report(published=None, stages=TWO_STAGES, colours=False, width=80, samples="sequences"):
    content = changed("published", published) if published else changed()
    scenario = Scenario.from_dict(content, "gpt3.toml")
    graph = make_task_graph(
        [(7_700_000, [0], []), (11_900_000, [0], [0])],
        actions=[("F", 0, 0, 0), ("B", 0, 0, 0)],
        action=[0, 1],
    )
    times = np.array([0, 7_700_000, 19_600_000])
    result = SimpleNamespace(
        title="GPT-3 on 64 A100",
        metrics=metrics(list(stages)),
        samples=samples,
        task_graph=graph,
        timeline=Timeline(graph, times[:-1], times[1:]),
        memory_capacity_bytes=80 * GIB,
        engine="event",
        contraction="",
        notes=(),
        network="",
        published=scenario.published,
    )
    system = "standard" if colours else None
    console = Console(width=width, force_terminal=colours, color_system=system)
    with console.capture() as captured:
        console.print(summary_table(result))
    return captured.get()


def row(text, label):
    line = next(line for line in text.splitlines() if line.startswith(label))
    return [cell.strip() for cell in line.removeprefix(label).split("  ") if cell.strip()]


def test_simulated_stands_beside_published_with_the_relative_error():
    text = report({"iteration_time": "13.75 s", "mfu": 0.514, "source": "Table 5"})
    assert row(text, "iteration time") == ["13.89 s", "13.75 s", "+1.0 %"]
    assert row(text, "model FLOP utilization (MFU)") == ["50.8 %", "51.4 %", "-1.2 %"]
    assert row(text, "tokens a second") == ["9,438"]
    assert "published: Table 5" in text


def test_without_published_numbers_there_is_no_column_for_them():
    text = report()
    assert "published" not in text
    assert row(text, "iteration time") == ["13.89 s"]


@pytest.mark.parametrize(
    ("samples", "rows", "others"),
    [
        ("sequences", ["tokens a second", "sequences a second"], ["images"]),
        ("images", ["images a second"], ["tokens", "sequences"]),
        ("samples", ["samples a second"], ["tokens", "sequences"]),
    ],
)
def test_speed_counts_what_the_batch_is_made_of(samples, rows, others):
    text = report(samples=samples)
    assert all(word in text for word in rows)
    assert not any(word in text for word in others)


def test_published_passes_stand_beside_the_simulated_ones():
    text = report({"forward_time": "7.0 ms", "backward_time": "11.9 ms"})
    assert row(text, "forward time of a microbatch") == ["7.70 ms", "7.00 ms", "+10.0 %"]
    assert row(text, "backward time of a microbatch") == ["11.9 ms", "11.9 ms", "+0.0 %"]


def test_time_is_told_by_kind_the_largest_communication_first():
    text = report()
    assert row(text, "compute") == ["11.8 s", "85.0 %", "█████████████████"]
    assert row(text, "pipeline bubble")[:1] == ["694 ms"]
    assert text.index("exposed tensor") < text.index("exposed pipeline")
    assert "exposed gradient communication" not in text
    assert row(text, "exposed gradient-norm communication") == ["40.0 µs", "<0.1 %"]


def test_memory_that_fits_is_green_and_that_does_not_is_red():
    assert "fits: 61.0 GiB of 80.0 GiB" in report()
    full = report(stages=[stage(0, 40), stage(1, 9)], colours=True)
    red = [line for line in full.splitlines() if "\x1b[31m" in line]
    assert any("stage 0" in line for line in red)
    assert not any("stage 1" in line for line in red)
    assert "does not fit: 5.00 GiB more than 80.0 GiB" in full


def test_of_many_stages_the_fullest_are_shown():
    text = report(stages=[stage(rank, rank) for rank in range(35)])
    assert "the 16 fullest of 35 stages" in text
    assert "stage 18 " not in text
    assert "stage 19 " in text
    assert "stage 34 " in text


def test_the_title_stands_first():
    assert report().splitlines()[0] == "GPT-3 on 64 A100"


def test_tasks_and_folding_are_told():
    text = " ".join(report().split())
    sizes = "64 devices, 123,456 tasks (864,192 folded away), event engine"
    assert f"{sizes} folding: nothing to fold" in text


@pytest.mark.parametrize("width", [80, 160])
def test_no_line_is_wider_than_a_terminal_and_nothing_is_cut(width):
    text = report({"iteration_time": "13.75 s"}, width=width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "…" not in text
