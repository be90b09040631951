"""Finding a thing by name: built in, from an entry point, or as `package.module:Name`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any


def lookup(registry: Mapping[str, Any], name: str, *, kind: str, group: str | None = None) -> Any:
    """The entry called `name`.

    Args:
        registry: the built-in entries: things, or `package.module:Name` of things to import when asked for.
        name: a key of `registry`, the name of an entry point in `group`, or `package.module:Name`.
        kind: what the entries are, for messages (`classifier`, `agent`).
        group: the entry-point group that third parties register in, such as `vidselect.agents`.

    Raises:
        ValueError: no such name; the message suggests the nearest one.
    """
    if name in registry:
        entry = registry[name]
        return _imported(entry, kind=kind) if isinstance(entry, str) else entry
    third_party = {entry.name: entry for entry in entry_points(group=group)} if group else {}
    if name in third_party:
        return third_party[name].load()
    if ":" in name:
        return _imported(name, kind=kind)
    known = sorted([*registry, *third_party])
    # Swapped letters first: difflib alone takes 'dns' for 'dense' before 'dsn'.
    swapped = [entry for entry in known if sorted(entry) == sorted(name)]
    near = swapped or difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    raise ValueError(f"unknown {kind} {name!r}: {hint}")


def _imported(path: str, *, kind: str) -> Any:
    module_name, _, attribute = path.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), attribute]):
        raise ValueError(f"unknown {kind} {path!r}: one of a module is named package.module:Name")
    module = importlib.import_module(module_name)
    found = getattr(module, attribute, None)
    if not callable(found):
        raise ValueError(f"unknown {kind} {path!r}: module {module_name!r} has no class or function {attribute!r}")
    return found
