"""Finding things by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from vidselect_classifiers import registry
from vidselect_classifiers.registry import lookup


def test_a_built_in_entry_is_found_by_its_key() -> None:
    assert lookup({"one": 1}, "one", kind="number") == 1


def test_a_third_party_entry_point_is_loaded_and_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint(name="their_net", value="math:pi", group="vidselect.classifiers")
    monkeypatch.setattr(registry, "entry_points", lambda *, group: [entry] if group == entry.group else [])
    assert lookup({}, "their_net", kind="classifier", group="vidselect.classifiers") == pytest.approx(3.14159)
    with pytest.raises(ValueError, match="did you mean 'their_net'"):
        lookup({}, "their-net", kind="classifier", group="vidselect.classifiers")


def test_a_name_like_no_other_gets_the_list_of_the_known() -> None:
    with pytest.raises(ValueError, match="unknown agent 'xyz': known are dsn, uniform"):
        lookup({"uniform": 1, "dsn": 2}, "xyz", kind="agent")


def test_a_module_without_the_attribute_is_an_error_that_names_both() -> None:
    with pytest.raises(ValueError, match="unknown agent 'math:tau2': module 'math' has no class or function 'tau2'"):
        lookup({}, "math:tau2", kind="agent")
