"""A page as HTML: everything inline, all text escaped, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from flexsim.reports.parts import Page, Picture

_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:;"
    " font-src data:"
)
"""A page that asks for nothing from elsewhere, and runs only the scripts that it came with."""


def html(page: Page) -> str:
    """Return the page; the same page gives the same bytes."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.filters["data_url"] = _data_url
    scripts = _scripts()
    return environment.from_string(asset("page.html")).render(
        page=page,
        style=asset("page.css"),
        scripts=scripts,
        policy=_POLICY.format(scripts=" ".join(map(_hash, scripts))),
    )


@cache
def asset(name: str) -> str:
    """Return the text of a file in ``assets/``."""
    return (files("flexsim.reports") / "assets" / name).read_text(encoding="utf-8")


def _scripts() -> list[str]:
    from plotly.offline import get_plotlyjs

    return [get_plotlyjs(), *(asset(f"{name}.js") for name in ("tables", "timeline", "page"))]


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _data_url(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
