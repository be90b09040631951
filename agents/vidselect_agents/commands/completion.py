"""Printing what makes a shell complete `vidselect`, from what the commands' own help says."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
from collections.abc import Mapping

from vidselect_agents.commands import COMMANDS
from vidselect_agents.commands.options.completion import CompletionConfig
from vidselect_agents.registry import AGENTS
from vidselect_classifiers import CLASSIFIERS

VALUES = {
    "--agent": tuple(AGENTS),
    "--agents": tuple(AGENTS),
    "--classifier": tuple(CLASSIFIERS),
    "--dataset": ("synthetic", "folder:", "csv:"),
    "--device": ("cpu", "cuda", "auto"),
}
Options = Mapping[str, tuple[str, ...]]


def run(config: CompletionConfig) -> None:
    """Ask every command for its help, and print the script."""
    known = {words: options for name in COMMANDS for words, options in options_of(name).items()}
    sys.stdout.write(fish_script(known) if config.shell == "fish" else bash_script(known, zsh=config.shell == "zsh"))


def options_of(*command: str) -> dict[tuple[str, ...], Options]:
    """The options of a command and of the commands in it, each with the values that it may have, as far as known."""
    text = help_of(*command)
    within = re.search(r"^usage: [^\n]*\{([\w,]+)\}", text)
    names = within.group(1).split(",") if within and not command[1:] else []
    found: dict[tuple[str, ...], Options] = {command: {**dict.fromkeys(names, ()), **_listed(text)}}
    for name in names if command != ("completion",) else ():
        found |= options_of(*command, name)
    return found


def help_of(command: str, *within: str) -> str:
    """What `vidselect COMMAND --help` prints, on one line an option."""
    options = importlib.import_module(f"vidselect_agents.commands.options.{command}")
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # to one without an encoding no lines are drawn
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            options.parse([*within, "--help"])
    finally:
        os.environ.pop("COLUMNS", None)
        if before is not None:
            os.environ["COLUMNS"] = before
    said.seek(0)
    return said.read()


def _listed(text: str) -> Options:
    """`│ --crops {1,10}  of each clip` -> `--crops`: 1 and 10."""
    found: dict[str, tuple[str, ...]] = {}
    for line in re.findall(r"│ (--?[a-z][^│]*?)(?=\s{2,}|│|$)", text):
        choices = re.search(r"\{([^{}\[\]A-Z][^{}\[\] ]*)\}(?!\|)", line)
        for option in re.findall(r"--[a-z][\w-]*", line):
            found[option] = VALUES.get(option) or (tuple(choices.group(1).split(",")) if choices else ())
    return found


def bash_script(known: Mapping[tuple[str, ...], Options], *, zsh: bool = False) -> str:
    """For bash; and for zsh, which can read such scripts."""
    cases: list[str] = []
    values: dict[str, tuple[str, ...]] = {}
    for words, options in known.items():
        cases.append(f"    '{' '.join(words)}') echo '{' '.join(options)}' ;;")
        values |= {f"{words[0]} {option}": each for option, each in options.items() if each}
    of_values = [f"    '{name}') echo '{' '.join(each)}' ;;" for name, each in values.items()]
    lines = [
        *(["autoload -U +X compinit bashcompinit && compinit && bashcompinit"] if zsh else []),
        "_vidselect_options() {",
        '  case "$1" in',
        *cases,
        "  esac",
        "}",
        "_vidselect_values() {",
        '  case "$1" in',
        *of_values,
        "  esac",
        "}",
        "_vidselect() {",
        '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" known=""',
        '  if [ "$COMP_CWORD" -eq 1 ]; then',
        f"    known='{' '.join(COMMANDS)} --help'",
        "  else",
        '    known="$(_vidselect_values "${COMP_WORDS[1]} $before")"',
        '    if [ -z "$known" ]; then known="$(_vidselect_options "${COMP_WORDS[1]} ${COMP_WORDS[2]}")"; fi',
        '    if [ -z "$known" ]; then known="$(_vidselect_options "${COMP_WORDS[1]}")"; fi',
        "  fi",
        '  COMPREPLY=($(compgen -W "$known" -- "$word"))',
        "}",
        "complete -o default -o bashdefault -F _vidselect vidselect",
    ]
    return "\n".join(lines) + "\n"


def fish_script(known: Mapping[tuple[str, ...], Options]) -> str:
    """For fish."""
    lines = [
        f"complete -c vidselect -f -n __fish_use_subcommand -a {name} -d '{_quoted(text)}'"
        for name, text in COMMANDS.items()
    ]
    for words, options in known.items():
        when = " && ".join(f"__fish_seen_subcommand_from {word}" for word in words)
        for option, values in options.items():
            if not option.startswith("--"):
                lines.append(f"complete -c vidselect -n '{when}' -a {option}")
                continue
            given = f" -x -a '{' '.join(values)}'" if values else ""
            lines.append(f"complete -c vidselect -n '{when}' -l {option[2:]}{given}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text.replace("'", "\\'")
