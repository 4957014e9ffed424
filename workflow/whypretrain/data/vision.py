"""torchvision, as whoever needs it takes it: `from whypretrain.data.vision import torchvision`.

The torchvision of PyPI is built for torch with CUDA. Beside the CPU build of torch its operators can't be loaded, and
its import fails, since it says more of two of them, `nms` and `qnms`, that nobody has declared. Here they are.
Networks, data sets and transforms work then; `torchvision.io` and `torchvision.ops` need the operators themselves.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

_found = find_spec("torchvision")
_folder = Path(_found.origin).parent if _found and _found.origin else Path()
try:
    torch.ops.load_library(next(_folder.glob("_C*"), _folder / "_C"))
except OSError:
    _declared = torch.library.Library("torchvision", "DEF")  # which ends with this object
    for _name in ("nms", "qnms"):
        _declared.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import torchvision  # noqa: E402

__all__ = ["torchvision"]
