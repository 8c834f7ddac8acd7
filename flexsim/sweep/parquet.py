"""Results as Parquet: made in one step from the CSV file in which the rows were gathered."""

from __future__ import annotations

from pathlib import Path

from flexsim.sweep.columns import FINGERPRINT, NUMBER, REASON, STATUS
from flexsim.sweep.journal import another_sweep, differs, replacing
from flexsim.sweep.work import Opened

_TEXT = (STATUS, REASON, FINGERPRINT, "peak_memory_at")
_COUNTS = ("num_devices", "num_tasks", "num_tasks_folded_away", "proposals")


def journal_of(path: Path) -> Path:
    """Return where the rows are gathered: the results file itself, or one beside it.

    ``results.parquet`` is made from ``results.parquet.csv``, which is kept: a sweep goes on
    from it.
    """
    return path.with_name(f"{path.name}.csv") if path.suffix == ".parquet" else path


def check_parquet(path: Path, opened: Opened) -> None:
    """Raise :class:`SweepError` where a file is there already that is not of this sweep."""
    from pyarrow import ArrowException, parquet

    if not path.exists():
        return
    try:
        names = parquet.read_schema(path).names
        if names != list(opened.columns):
            raise another_sweep(path, "its columns are others")
        table = parquet.read_table(path, columns=[NUMBER, FINGERPRINT])
    except (ArrowException, OSError) as problem:
        raise another_sweep(path, "it is no Parquet file") from problem
    numbers, prints = (table[name].to_pylist() for name in (NUMBER, FINGERPRINT))
    for number, found in zip(numbers, prints, strict=True):
        if opened.fingerprint(number) != found:
            raise another_sweep(path, differs(number))


def to_parquet(rows: Path, path: Path, opened: Opened) -> None:
    """Write the rows of a CSV file as Parquet, block by block; the file is replaced whole."""
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    options = arrow_csv.ConvertOptions(
        column_types=_types(opened), strings_can_be_null=True, quoted_strings_can_be_null=True
    )
    with (
        replacing(path) as temporary,
        arrow_csv.open_csv(rows, convert_options=options) as blocks,
        parquet.ParquetWriter(temporary, blocks.schema) as writer,
    ):
        for block in blocks:
            writer.write_batch(block)


def _types(opened: Opened) -> dict[str, object]:
    """Return the type of every column; that of a key follows from the values it takes."""
    import pyarrow

    whole, real, text = pyarrow.int64(), pyarrow.float64(), pyarrow.string()
    found: dict[str, object] = {}
    for name in opened.metrics:
        is_whole = name in _COUNTS or (name.startswith("peak_memory") and name not in _TEXT)
        found[name] = whole if is_whole else real
    found |= dict.fromkeys(("fits_memory", "proven_optimal"), pyarrow.bool_())
    for axis in opened.space.axes:
        for key, *values in zip(axis.keys, *axis.steps, strict=True):
            kinds = {type(value) for value in values}
            found[key] = {int: whole, float: real, bool: pyarrow.bool_()}.get(
                kinds.pop() if len(kinds) == 1 else str, text
            )
    return found | dict.fromkeys(_TEXT, text) | {NUMBER: whole}
