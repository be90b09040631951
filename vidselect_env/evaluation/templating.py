"""Pages from the templates beside this file, which may include one another."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def rendered(name: str, **values: Any) -> bytes:
    """The template called `name` with values in it, as UTF-8; a path may hold bytes that are none: they become `?`."""
    return _environment().get_template(name).render(**values).encode("utf-8", "replace")


@cache
def _environment() -> Environment:
    loader = PackageLoader("vidselect_env", "evaluation/templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
