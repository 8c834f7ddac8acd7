"""A validation as Markdown: a table a family, errors in per cent, and what was skipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flexsim.accuracy.compare import Comparison
from flexsim.accuracy.summary import Errors, Flags, memory_errors, time_errors
from flexsim.accuracy.validate import Validation

_GIB = 2**30
_MOST_ROWS = 60
"""Families with more rows than these are told by their summary."""


def validation_markdown(validation: Validation) -> str:
    """Return the errors of all families, the tables of all families, and what was skipped."""
    skipped = skipped_list(validation)
    parts = [summary_table(validation), family_tables(validation)]
    parts += [f"## Not compared\n\n{skipped}"] if skipped else []
    return "\n\n".join(part for part in parts if part) + "\n"


def family_tables(validation: Validation) -> str:
    """Return a section a family with a line a run; large families are left to the summary."""
    families = validation.families.items()
    shown = ["\n".join(_family(name, some)) for name, some in families if len(some) <= _MOST_ROWS]
    return "\n\n".join(text for text in shown if text)


def skipped_list(validation: Validation) -> str:
    """Return what was not compared, a line a reason; "" where everything was."""
    return "\n".join(_skipped(validation.comparisons))


def summary_table(validation: Validation) -> str:
    """Return a table of errors: a line a family, all together, and memory."""
    lines = ["| family | compared | mean absolute | median | mean | worst |", "|---|" + "--:|" * 5]
    for family, some in validation.families.items():
        lines.append(_summary_row(family, time_errors(some)))
    lines.append(_summary_row("**all**", validation.errors))
    found = memory_errors(validation.comparisons)
    if found is not None:
        lines.append(_summary_row("memory of a device", found))
    flags = flags_sentence(Flags.of(validation.comparisons))
    return "\n".join(lines) + (f"\n\n{flags}" if flags else "")


def _summary_row(name: str, errors: Errors | None) -> str:
    if errors is None:
        return f"| {name} | 0 | | | | |"
    numbers = [f"{errors.mean_absolute:.1%}", f"{errors.median_absolute:.1%}"]
    numbers += [f"{errors.mean:+.1%}", f"{errors.worst:.1%} ({errors.worst_name})"]
    return f"| {name} | {errors.count} | " + " | ".join(numbers) + " |"


def flags_sentence(flags: Flags) -> str:
    """Return how often runs fit into memory as they did; "" where none was said not to."""
    known = flags.out_of_memory_and_does_not_fit + flags.out_of_memory_but_fits
    ran = flags.ran_and_fits + flags.ran_but_does_not_fit
    if not known and not flags.ran_but_does_not_fit:
        return ""
    said = f"Of {ran} runs that ran, {flags.ran_and_fits} fit into memory as simulated"
    if not known:
        return f"{said}."
    return f"{said}; of {known} that ran out of it, {flags.out_of_memory_and_does_not_fit} do not."


def _family(family: str, some: Sequence[Comparison]) -> Iterator[str]:
    compared = [each for each in some if each.error is not None or each.memory is not None]
    if not compared:
        return
    profiles = sorted({_profiles(each) for each in compared})
    with_memory = any(each.memory is not None for each in compared)
    more = " memory, measured | simulated | error |" if with_memory else ""
    yield f"## {family}"
    yield ""
    yield f"Profiles (device, software): {'; '.join(profiles)}."
    yield ""
    yield f"| run | measured | simulated | error |{more}"
    yield "|---|" + "--:|" * (6 if with_memory else 3)
    for each in compared:
        yield _line(each) + (_memory_cells(each) if with_memory else "")


def _profiles(each: Comparison) -> str:
    from flexsim.accuracy.flops import device_type_of

    scenario = each.question.scenario
    assert scenario is not None
    return f"{device_type_of(scenario)}, {scenario.training.software}"


def _line(each: Comparison) -> str:
    if each.error is None or each.question.measured_s is None or each.simulated_s is None:
        return f"| {each.question.name} | | | |"
    unit = "" if each.question.base else " s"
    measured, simulated = each.question.measured_s, each.simulated_s
    return (
        f"| {each.question.name} | {measured:.4g}{unit} | {simulated:.4g}{unit} "
        f"| {each.error:+.1%} |"
    )


def _memory_cells(each: Comparison) -> str:
    if each.memory is None:
        return " | | |"
    gib = (each.memory.measured_bytes / _GIB, each.memory.simulated_bytes / _GIB)
    return f" {gib[0]:.1f} GiB | {gib[1]:.1f} GiB | {each.memory.error:+.1%} |"


def _skipped(comparisons: Sequence[Comparison]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for each in comparisons:
        if each.status == "skipped":
            reasons.setdefault(each.reason, []).append(each.question.name)
    for reason, names in reasons.items():
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        yield f"- {shown}: {reason}"
