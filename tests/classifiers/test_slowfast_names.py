"""SlowFast's checkpoints of PySlowFast and PyTorchVideo: made files with the real names and shapes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from vidselect_classifiers import WeightsError, make_classifier
from vidselect_classifiers.checkpoint_names import library_of

# What PySlowFast 1.0 and PyTorchVideo 0.1.5 call the parts of SLOWFAST_8x8_R50. {p} is the pathway, {s} a stage from 1.
NAMES = {
    "PySlowFast": {
        "stem": ("s1.pathway{p}_stem.conv", "s1.pathway{p}_stem.bn"),
        "fuse": ("s{s}_fuse.conv_f2s", "s{s}_fuse.bn"),
        "block": lambda s, p, b: f"s{s + 1}.pathway{p}_res{b}.",
        "shortcut": ("branch1", "branch1_bn"),
        "branch": tuple(f"branch2.{part}" for part in ("a", "a_bn", "b", "b_bn", "c", "c_bn")),
        "head": "head.projection",
    },
    "PyTorchVideo": {
        "stem": ("blocks.0.multipathway_blocks.{p}.conv", "blocks.0.multipathway_blocks.{p}.norm"),
        "fuse": ("blocks.{before}.multipathway_fusion.conv_fast_to_slow", "blocks.{before}.multipathway_fusion.norm"),
        "block": lambda s, p, b: f"blocks.{s}.multipathway_blocks.{p}.res_blocks.{b}.",
        "shortcut": ("branch1_conv", "branch1_norm"),
        "branch": tuple(f"branch2.{kind}_{part}" for part in "abc" for kind in ("conv", "norm")),
        "head": "blocks.6.proj",
    },
}
BLOCKS = (3, 4, 6, 3)
KERNELS = {0: (1, 1, 3, 3), 1: (3, 3, 3, 3)}  # in time, of the first convolutions: slow and fast


def shapes(library: str) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """(their module, the module here, shape of its weight), all of them."""
    names = NAMES[library]
    for p, (path, width, kernel) in enumerate((("slow", 64, 1), ("fast", 8, 5))):
        conv, norm = (name.format(p=p) for name in names["stem"])
        yield conv, f"stem.{path}.0", (width, 3, kernel, 7, 7)
        yield norm, f"stem.{path}.1", (width,)
    for s in (1, 2, 3, 4):
        fast = 8 if s == 1 else 32 * 2 ** (s - 2)
        conv, norm = (name.format(s=s, before=s - 1) for name in names["fuse"])
        yield conv, f"layer{s}.lateral.0", (2 * fast, fast, 7, 1, 1)
        yield norm, f"layer{s}.lateral.1", (2 * fast,)
        for p, path in enumerate(("slow", "fast")):
            share = 8**p
            inner, out = 64 * 2 ** (s - 1) // share, 256 * 2 ** (s - 1) // share
            planes = (64 if s == 1 else out * share // 2) // share + (0 if p else 2 * fast)
            for b in range(BLOCKS[s - 1]):
                there, here = names["block"](s, p, b), f"layer{s}.{path}.{b}."
                if b == 0:
                    yield there + names["shortcut"][0], f"{here}downsample.0", (out, planes, 1, 1, 1)
                    yield there + names["shortcut"][1], f"{here}downsample.1", (out,)
                a, a_norm, middle, middle_norm, c, c_norm = (there + part for part in names["branch"])
                yield a, f"{here}conv1.0", (inner, planes, KERNELS[p][s - 1], 1, 1)
                yield a_norm, f"{here}conv1.1", (inner,)
                yield middle, f"{here}conv2.0", (inner, inner, 1, 3, 3)
                yield middle_norm, f"{here}conv2.1", (inner,)
                yield c, f"{here}conv3.0", (out, inner, 1, 1, 1)
                yield c_norm, f"{here}conv3.1", (out,)
                planes = out


def made(library: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A state dict under their names, no two of whose tensors are alike, and the same under the names here."""
    theirs: dict[str, Tensor] = {}
    ours: dict[str, Tensor] = {}
    parts = [*shapes(library), (NAMES[library]["head"], "fc", (400, 2304))]
    for there, here, shape in parts:
        leaves = ("weight", "bias", "running_mean", "running_var") if len(shape) == 1 else ("weight",)
        for leaf in (*leaves, *["bias"] * (here == "fc")):
            value = torch.full(shape[:1] if leaf == "bias" else shape, float(len(ours)))
            theirs[f"{there}.{leaf}"] = ours[f"{here}.{leaf}"] = value
        if len(shape) == 1:
            theirs[f"{there}.num_batches_tracked"] = ours[f"{here}.num_batches_tracked"] = torch.tensor(3)
    return theirs, ours


@pytest.mark.parametrize("library", NAMES)
def test_every_tensor_of_a_checkpoint_finds_its_place(tmp_path, library):
    theirs, ours = made(library)
    assert library_of(theirs) == library
    torch.save({"model_state": theirs}, tmp_path / "SLOWFAST_8x8_R50.pyth")
    classifier = make_classifier("slowfast_8x8_r50", weights=tmp_path / "SLOWFAST_8x8_R50.pyth")
    found = classifier.network.state_dict()
    assert found.keys() == ours.keys()
    assert all(torch.equal(found[name], value) for name, value in ours.items())
    with pytest.raises(WeightsError, match=r"layer1.lateral.0.weight \(16, 8, 7, 1, 1\) must be \(16, 8, 5, 1, 1\)"):
        make_classifier("slowfast_4x16_r50", weights=tmp_path / "SLOWFAST_8x8_R50.pyth")


def test_a_fast_pathway_does_not_pass_for_the_only_one(tmp_path):
    torch.save(made("PySlowFast")[0], tmp_path / "two.pyth")
    with pytest.raises(WeightsError, match=r"unexpected \(\d+\): .*s1.pathway1_stem.conv.weight"):
        make_classifier("i3d_r50", weights=tmp_path / "two.pyth")


def test_mmaction2s_network_is_another(tmp_path):
    torch.save({"backbone.slow_path.layer1.0.conv1.conv.weight": torch.zeros(1)}, tmp_path / "mm.pth")
    with pytest.raises(WeightsError, match="mmaction2's lateral connections have no batch norm and no ReLU"):
        make_classifier("slowfast_8x8_r50", weights=tmp_path / "mm.pth")
