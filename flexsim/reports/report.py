"""``write_report``: from a directory of results to a page."""

from __future__ import annotations

from pathlib import Path

from flexsim.files import is_file, whole_file
from flexsim.reports.files import ReportError, check_files, read_summary
from flexsim.reports.html import html
from flexsim.reports.parts import Page
from flexsim.scenario.summary import SUMMARY

PAGE = "report.html"
_RESULTS = ("results.csv", "results.parquet")
_TABLES = (".csv", ".parquet")


def write_report(source: str | Path, output: str | Path | None = None) -> Path:
    """Write the page of a run, a search or a sweep, whole or not at all, and return its path.

    ``source`` is the directory that ``flexsim run`` or ``flexsim search`` wrote, the results of
    a sweep or the directory in which ``results.csv`` has them. Without ``output`` the page is
    ``report.html`` in the directory, or beside the results by their name. Raise a
    :class:`FlexSimError` in one sentence where there is nothing to report.
    """
    given = Path(source)
    page = html(page_of(given))
    path = Path(output) if output is not None else _beside(given)
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _beside(given: Path) -> Path:
    return given / PAGE if given.is_dir() else given.with_suffix(".html")


def page_of(given: Path) -> Page:
    """Return the page of what ``given`` holds."""
    if given.is_dir():
        return _page_of_directory(given)
    if not is_file(given):
        raise ReportError(f"{given}: there is no such directory or file")
    if given.suffix not in _TABLES:
        raise ReportError(
            f"{given}: is neither a directory of results nor a sweep's results, "
            f"whose names end in {' or '.join(_TABLES)}"
        )
    return _page_of_sweep(given)


def _page_of_directory(folder: Path) -> Page:
    if is_file(folder / SUMMARY):
        return _page_of_summary(folder)
    for name in _RESULTS:
        if is_file(folder / name):
            return _page_of_sweep(folder / name)
    raise ReportError(
        f"{folder}: there are no results: neither {SUMMARY}, which a run or a search writes last, "
        f"nor a sweep's {' or '.join(_RESULTS)}"
    )


def _page_of_summary(folder: Path) -> Page:
    summary = read_summary(folder / SUMMARY)
    try:
        check_files(folder, summary["files"])
        if summary["kind"] == "run":
            from flexsim.reports.run_page import run_page

            return run_page(folder, summary)
        from flexsim.reports.search_page import search_page

        return search_page(folder, summary)
    except (KeyError, TypeError, AttributeError) as problem:
        raise ReportError(
            f"{folder / SUMMARY}: is not as this version of flexsim writes it ({problem}); "
            "do the run again"
        ) from problem


def _page_of_sweep(path: Path) -> Page:
    from flexsim.reports.sweep_page import sweep_page

    return sweep_page(path)
