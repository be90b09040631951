"""How other libraries call the parts of this package's networks (`checkpoint_names` translates by it)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

X3D = ("x3d_xs", "x3d_s", "x3d_m", "x3d_l", "x3d_xl")

SLOWFAST = ("slowfast_4x16_r50", "slowfast_8x8_r18", "slowfast_8x8_r50")

# What each library calls a residual block's modules: of two pathways which, stage, number of the block, the rest.
_LAYER = r"layer(?P<stage>\d)\.(?P<block>\d+)\.(?P<part>.+)"
LIBRARIES = {
    "PySlowFast": r"s(?P<stage>\d)\.pathway(?P<path>\d)_res(?P<block>\d+)\.(?P<part>.+)",
    "mmaction2": rf"backbone\.(?:(?P<path>slow|fast)_path\.)?{_LAYER}",
    "PyTorchVideo": (
        r"blocks\.(?P<stage>\d)\.(?:multipathway_blocks\.(?P<path>\d)\.)?res_blocks\.(?P<block>\d+)\.(?P<part>.+)"
    ),
    "TSM": rf"base_model\.{_LAYER}",
}
PATHS = {"0": "slow", "1": "fast"}


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The names that a library has for the modules of a network.

    library: of `LIBRARIES`.
    networks: classifiers that its checkpoints fit.
    own_block: what a residual block is called here, with `{stage}` and `{block}`, and `{path}` of two pathways.
    stages: the stage here of each stage there.
    parts: modules of a block, there to here. others: all other modules.
    """

    library: str
    networks: tuple[str, ...]
    own_block: str
    stages: Mapping[str, int]
    parts: Mapping[str, str]
    others: Mapping[str, str] = field(default_factory=dict)

    def own_name(self, key: str) -> str | None:
        """The name here of a parameter or buffer; None of one that the network does not have."""
        module, _, leaf = key.rpartition(".")
        if found := re.fullmatch(LIBRARIES[self.library], module):
            stage, block, part = found["stage"], found["block"], found["part"]
            path = PATHS.get(found.groupdict().get("path") or "")
            is_other = path == "fast" and "{path}" not in self.own_block  # the second pathway of another network
            if stage not in self.stages or part not in self.parts or is_other:
                return None
            own = self.own_block.format(stage=self.stages[stage], block=block, path=path)
            return f"{own}.{self.parts[part]}.{leaf}"
        return f"{self.others[module]}.{leaf}" if module in self.others else None


_FROM_SECOND = {str(stage + 1): stage for stage in range(1, 5)}
_X3D_BLOCK = "blocks.{stage}.res_blocks.{block}"
_RESNET_BLOCK = "layer{stage}.{block}"

_SLOWFAST_BLOCK = "layer{stage}.{path}.{block}"
_BOTTLENECK = {
    "PySlowFast": ("branch1", "branch1_bn", *(f"branch2.{part}" for part in ("a", "a_bn", "b", "b_bn", "c", "c_bn"))),
    "PyTorchVideo": (
        "branch1_conv",
        "branch1_norm",
        *(f"branch2.{kind}_{part}" for part in "abc" for kind in ("conv", "norm")),
    ),
}
_OWN_BOTTLENECK = ("downsample.0", "downsample.1", *(f"conv{i}.{j}" for i in (1, 2, 3) for j in (0, 1)))

DIALECTS = (
    Dialect(
        library="PySlowFast",
        networks=X3D,
        own_block=_X3D_BLOCK,
        stages=_FROM_SECOND,
        parts={
            "branch1": "branch1_conv",
            "branch1_bn": "branch1_norm",
            "branch2.a": "branch2.conv_a",
            "branch2.a_bn": "branch2.norm_a",
            "branch2.b": "branch2.conv_b",
            "branch2.b_bn": "branch2.norm_b.0",
            "branch2.se.fc1": "branch2.norm_b.1.block.0",
            "branch2.se.fc2": "branch2.norm_b.1.block.2",
            "branch2.c": "branch2.conv_c",
            "branch2.c_bn": "branch2.norm_c",
        },
        others={
            "s1.pathway0_stem.conv_xy": "blocks.0.conv.conv_t",
            "s1.pathway0_stem.conv": "blocks.0.conv.conv_xy",
            "s1.pathway0_stem.bn": "blocks.0.norm",
            "head.conv_5": "blocks.5.pool.pre_conv",
            "head.conv_5_bn": "blocks.5.pool.pre_norm",
            "head.lin_5": "blocks.5.pool.post_conv",
            "head.projection": "blocks.5.proj",
        },
    ),
    Dialect(
        library="mmaction2",
        networks=X3D,
        own_block=_X3D_BLOCK,
        stages={str(stage): stage for stage in range(1, 5)},
        parts={
            "downsample.conv": "branch1_conv",
            "downsample.bn": "branch1_norm",
            "conv1.conv": "branch2.conv_a",
            "conv1.bn": "branch2.norm_a",
            "conv2.conv": "branch2.conv_b",
            "conv2.bn": "branch2.norm_b.0",
            "se_module.fc1": "branch2.norm_b.1.block.0",
            "se_module.fc2": "branch2.norm_b.1.block.2",
            "conv3.conv": "branch2.conv_c",
            "conv3.bn": "branch2.norm_c",
        },
        others={
            "backbone.conv1_s.conv": "blocks.0.conv.conv_t",
            "backbone.conv1_t.conv": "blocks.0.conv.conv_xy",
            "backbone.conv1_t.bn": "blocks.0.norm",
            "backbone.conv5.conv": "blocks.5.pool.pre_conv",
            "backbone.conv5.bn": "blocks.5.pool.pre_norm",
            "cls_head.fc1": "blocks.5.pool.post_conv",
            "cls_head.fc2": "blocks.5.proj",
        },
    ),
    Dialect(
        library="PySlowFast",
        networks=("i3d_r50",),
        own_block=_RESNET_BLOCK,
        stages=_FROM_SECOND,
        parts=dict(zip(_BOTTLENECK["PySlowFast"], _OWN_BOTTLENECK, strict=True)),
        others={"s1.pathway0_stem.conv": "stem.0", "s1.pathway0_stem.bn": "stem.1", "head.projection": "fc"},
    ),
    Dialect(
        library="PyTorchVideo",
        networks=("i3d_r50",),
        own_block=_RESNET_BLOCK,
        stages={"1": 1, "3": 2, "4": 3, "5": 4},  # its second block is the maximum over pairs of maps
        parts=dict(zip(_BOTTLENECK["PyTorchVideo"], _OWN_BOTTLENECK, strict=True)),
        others={"blocks.0.conv": "stem.0", "blocks.0.norm": "stem.1", "blocks.6.proj": "fc"},
    ),
    Dialect(
        library="PySlowFast",
        networks=SLOWFAST,
        own_block=_SLOWFAST_BLOCK,
        stages=_FROM_SECOND,
        parts=dict(zip(_BOTTLENECK["PySlowFast"], _OWN_BOTTLENECK, strict=True)),
        others={"head.projection": "fc"}
        | {f"s1.pathway{number}_stem.conv": f"stem.{path}.0" for number, path in PATHS.items()}
        | {f"s1.pathway{number}_stem.bn": f"stem.{path}.1" for number, path in PATHS.items()}
        | {f"s{stage}_fuse.conv_f2s": f"layer{stage}.lateral.0" for stage in range(1, 5)}
        | {f"s{stage}_fuse.bn": f"layer{stage}.lateral.1" for stage in range(1, 5)},
    ),
    Dialect(
        library="PyTorchVideo",
        networks=SLOWFAST,
        own_block=_SLOWFAST_BLOCK,
        stages={str(stage): stage for stage in range(1, 5)},
        parts=dict(zip(_BOTTLENECK["PyTorchVideo"], _OWN_BOTTLENECK, strict=True)),
        others={"blocks.6.proj": "fc"}
        | {f"blocks.0.multipathway_blocks.{number}.conv": f"stem.{path}.0" for number, path in PATHS.items()}
        | {f"blocks.0.multipathway_blocks.{number}.norm": f"stem.{path}.1" for number, path in PATHS.items()}
        | {
            f"blocks.{stage}.multipathway_fusion.{theirs}": f"layer{stage + 1}.lateral.{own}"
            for stage in range(4)
            for theirs, own in (("conv_fast_to_slow", 0), ("norm", 1))
        },
    ),
    Dialect(
        library="mmaction2",
        networks=("tsm_resnet50",),
        own_block=_RESNET_BLOCK,
        stages={str(stage): stage for stage in range(1, 5)},
        parts={"conv1.conv.net": "conv1", "downsample.conv": "downsample.0", "downsample.bn": "downsample.1"}
        | {f"conv{number}.conv": f"conv{number}" for number in (2, 3)}
        | {f"conv{number}.bn": f"bn{number}" for number in (1, 2, 3)},
        others={"backbone.conv1.conv": "conv1", "backbone.conv1.bn": "bn1", "cls_head.fc_cls": "fc"},
    ),
    Dialect(
        library="TSM",
        networks=("tsm_resnet50",),
        own_block=_RESNET_BLOCK,
        stages={str(stage): stage for stage in range(1, 5)},
        parts={"conv1.net": "conv1"}
        | {part: part for part in ("bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1")},
        others={"base_model.conv1": "conv1", "base_model.bn1": "bn1", "new_fc": "fc"},
    ),
)

# Of a library, what tensors of one network would fit and mean something else, and why.
REFUSED = {
    ("mmaction2", "i3d_r50"): (
        "mmaction2's I3D halves time in its first convolution and in its first pooling too, and i3d_r50 does not: take "
        "PyTorchVideo's I3D_8x8_R50.pyth, or mmaction2's own module as a classifier"
    ),
    **{
        ("mmaction2", name): (
            "mmaction2's lateral connections have no batch norm and no ReLU, and these do: take PySlowFast's or "
            "PyTorchVideo's checkpoint, or mmaction2's own module as a classifier"
        )
        for name in SLOWFAST
    },
    ("PyTorchVideo", "r2plus1d_50"): (
        "PyTorchVideo's R(2+1)D has fewer middle planes, and another stem: take its own module as a classifier"
    ),
}
