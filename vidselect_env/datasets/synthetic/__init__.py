"""The default problem and its kin: videos made here, so that nothing has to be downloaded.

*Untrimmed*: an actor performs one of eight motions in a few bursts of a 10-second video, and rests between them.
Much else moves: the camera, a bystander, the light, and shots of another place. *Trimmed*: a dozen frames of nothing
but the action among the same disturbances, without sound, to train a clip classifier on. *v1* and *v1-trimmed*: the
first version of both, which frame differences solve. *Speeds*: trimmed clips, still, slow and fast. All are real
H.264 (and AAC) files. `config` says which kinds there are, `scenes` what happens, `rendering` and `sound` draw it, and
`making` writes the files.
"""

from __future__ import annotations

from vidselect_env.datasets.synthetic.config import FORMAT_VERSIONS, KINDS, SyntheticConfig
from vidselect_env.datasets.synthetic.making import synthetic_dataset, truth_spans
from vidselect_env.datasets.synthetic.motions import MOTIONS

__all__ = ["FORMAT_VERSIONS", "KINDS", "MOTIONS", "SyntheticConfig", "synthetic_dataset", "truth_spans"]
