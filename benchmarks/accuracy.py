"""Write docs/validation.md and docs/accuracy.md: simulated against measured.

    python benchmarks/accuracy.py [RUNS.csv …]

Simulates every shipped scenario with published numbers, and the runs of the tables that are
given, some minutes in all.
"""

import argparse
from pathlib import Path
from string import Template

import flexsim
from flexsim.accuracy.columns import COLUMNS, REQUIRED
from flexsim.accuracy.markdown import family_tables, skipped_list, summary_table

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
TEMPLATE = Template((HERE / "validation.md.in").read_text(encoding="utf-8"))
EVERY_RUN = """# Accuracy, run by run

[Validation](validation.md) has the summary, what is calibrated and what is not modelled. Written
by `python benchmarks/accuracy.py`. Errors are simulated over measured, less one. Published TFLOP/s
were turned into times with the executed FLOPs.
"""


def main() -> None:
    """Simulate, then write both pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="CSV tables of measured runs")
    parser.add_argument("--output", type=Path, default=DOCS, help="directory of the pages")
    chosen = parser.parse_args()
    shipped = flexsim.validate()
    opened = [flexsim.validate(runs=path) for path in chosen.runs]
    pages = {
        "accuracy.md": "\n".join([EVERY_RUN, *map(family_tables, [shipped, *opened])]),
        "validation.md": validation_page(shipped, opened),
    }
    for name, text in pages.items():
        (chosen.output / name).write_text(text.rstrip() + "\n", encoding="utf-8")
        print(f"wrote {chosen.output / name}")


def validation_page(shipped: flexsim.Validation, opened: list[flexsim.Validation]) -> str:
    """Return the page with the summaries filled in."""
    columns = (f"| `{name}` | {meaning} |" for name, meaning in COLUMNS.items())
    return TEMPLATE.substitute(
        summary=summary_table(shipped),
        open_runs="".join(map(section, opened)),
        required="`, `".join(REQUIRED),
        columns="\n".join(columns),
    )


def section(validation: flexsim.Validation) -> str:
    """Return the summary of one table of runs, and what of it was not compared."""
    skipped = skipped_list(validation)
    left_out = f"Not compared:\n\n{skipped}\n\n" if skipped else ""
    name = validation.title.rpartition(": ")[2]
    return f"## Runs of `{name}`\n\n{summary_table(validation)}\n\n{left_out}"


if __name__ == "__main__":
    main()
