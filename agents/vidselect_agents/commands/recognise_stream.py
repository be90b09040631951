"""Recognising a stream by a run: decisions printed as they fall."""

from __future__ import annotations

import sys

import torch

from vidselect_agents.commands.options.recognise import RecogniseConfig
from vidselect_agents.commands.recogniser import Recogniser, save_clips, write_timelines
from vidselect_env.experiment.ledger import Ledger
from vidselect_env.experiment.streams import Heard, recognise_stream
from vidselect_env.experiment.timeline import clock
from vidselect_env.experiment.windows import Decision
from vidselect_env.video.live import LiveWindows


@torch.inference_mode()
def recognise_live(address: str, config: RecogniseConfig, recogniser: Recogniser) -> None:
    """Recognise a stream to its end, or until it is interrupted; files that were asked for are written then.

    Raises:
        VideoError: it cannot be opened, or breaks off; what was recognised before is told and written.
    """
    assert config.window is not None
    windows = LiveWindows(
        address,
        window_s=config.window,
        every_s=config.every or config.window,
        with_sound="mel" in recogniser.spec.fields,
        drop=config.drop,
    )
    heard: list[Heard] = []
    name = "stream" if address == "-" else address
    try:
        for each in recognise_stream(
            windows,
            recogniser.selector,
            classifier=recogniser.classifier,
            spec=recogniser.spec,
            problem=recogniser.problem,
        ):
            heard.append(each)
            print(line_of(each, recogniser.class_names), flush=True)
            if config.save_clips is not None and each.index is not None:
                save_clips(config.save_clips, name, each.index, [each.decision])
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        if heard:
            decisions = [each.decision for each in heard]
            print(summary(heard), flush=True)
            write_timelines(name, decisions, config, recogniser.class_names)


def line_of(heard: Heard, class_names: tuple[str, ...]) -> str:
    """`00:00:05.000 to 00:00:15.000  fight 0.93; 6 of 18 clips, 0.4 s after its end`.

    The clock begins when the stream is opened: what waited in a pipe until then is early, and 0.0 s after its end.
    """
    decision = heard.decision
    told = f"{clock(decision.start_s, mark='.')} to {clock(decision.end_s, mark='.')}  "
    if decision.found is None or decision.label is None:
        return told + decision.reason
    return told + (
        f"{class_names[decision.label]} {decision.probability:.2f}; {len(decision.found.classified)} of "
        f"{decision.found.num_candidates} clips, {max(heard.lag_s, 0.0):.1f} s after its end"
    )


def summary(heard: list[Heard]) -> str:
    """Windows, how many were dropped with how many looks, the longest delay, and what the work took."""
    decisions: list[Decision] = [each.decision for each in heard]
    ledger = Ledger.of(decisions)
    found = [each for each in heard if each.decision.found is not None]
    dropped = sum(each.is_dropped for each in heard)
    looks = round(dropped * ledger.num_candidates / len(found)) if found else 0
    spent = ", ".join(f"{name} {value:.0f}" for name, value in ledger.milliseconds.items())
    longest_s = max((max(each.lag_s, 0.0) for each in found), default=float("nan"))
    return (
        f"{len(heard)} windows, {dropped} dropped ({looks} looks); at most {longest_s:.1f} s after a window's end\n"
        f"{ledger}\nmilliseconds: {spent}; {sum(ledger.milliseconds.values()):.0f} in all"
    )
