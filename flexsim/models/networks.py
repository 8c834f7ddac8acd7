"""Published networks other than language models: image, recurrent and recommender networks.

Where no parameter count was published, the shapes are those of the source that is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Fields = dict[str, Any]


def _counted(family: str, published: float, source: str, **sizes: int) -> Fields:
    """Return the fields of a network whose exact or printed parameter count is known."""
    return {"family": family, "published_parameters": published, "source": source} | sizes


_TORCHVISION = "; count: torchvision 0.15 documentation (2023), num_params"
_PAPER = "Jia, Zaharia and Aiken 2019 (FlexFlow, MLSys), Table 3"
_UNITY = "Unger et al. 2022 (Unity, OSDI)"
_CODE = "sizes of FlexFlow's {} (2023)"

_IMAGES: dict[str, Fields] = {
    "lenet-5": {"family": "lenet", "source": "LeCun et al. 1998, Figure 2, fully connected C3"},
    "alexnet": _counted("alexnet", 61_100_840, f"Krizhevsky 2014 (arXiv 1404.5997){_TORCHVISION}"),
    "vgg-16": _counted(
        "vgg", 138_357_544, f"Simonyan 2014 (arXiv 1409.1556), D{_TORCHVISION}", layers=16
    ),
    "vgg-19": _counted(
        "vgg", 143_667_240, f"Simonyan 2014 (arXiv 1409.1556), E{_TORCHVISION}", layers=19
    ),
    "resnet-50": _counted(
        "resnet", 25_557_032, f"He et al. 2015 (arXiv 1512.03385){_TORCHVISION}", layers=50
    ),
    "resnet-101": _counted(
        "resnet", 44_549_160, f"He et al. 2015 (arXiv 1512.03385){_TORCHVISION}", layers=101
    ),
    "resnext-50": _counted(
        "resnext", 25_028_904, f"Xie et al. 2016 (arXiv 1611.05431){_TORCHVISION}", layers=50
    ),
    "inception-v3": _counted(
        "inception",
        27_161_264 - 3_326_696,
        "Szegedy et al. 2015 (arXiv 1512.00567); count: torchvision's, less the auxiliary "
        "classifier's (2023)",
    ),
    "unet": {"family": "unet", "source": "Ronneberger et al. 2015 (arXiv 1505.04597), Figure 1"},
    "vit-b16": _counted(
        "vit",
        86_567_656,
        f"Dosovitskiy et al. 2020 (arXiv 2010.11929), Table 1{_TORCHVISION}",
        layers=12,
        hidden=768,
        heads=12,
    ),
}

_RECURRENT: dict[str, Fields] = {
    "rnnlm": _counted(
        "rnnlm",
        66e6,
        "Zaremba et al. 2014 (arXiv 1409.2329), large; count: Merity et al. 2016 "
        "(arXiv 1609.07843), Table 2",
        layers=2,
        hidden=1500,
        vocabulary=10000,
    ),
    "rnntc": {
        "family": "rnntc",
        "layers": 4,
        "hidden": 2048,
        "vocabulary": 20480,
        "source": f"{_PAPER}; {_CODE.format('nmt/nmt.cc')}",
    },
    "nmt": {
        "family": "nmt",
        "layers": 2,
        "hidden": 2048,
        "vocabulary": 20480,
        "source": f"{_PAPER}; {_CODE.format('nmt/nmt.cc')}",
    },
}

_RECOMMENDERS: dict[str, Fields] = {
    "dlrm": {
        "family": "dlrm",
        "source": f"{_UNITY}; {_CODE.format('examples/cpp/DLRM/run_summit.sh')}",
    },
    "xdl": {"family": "xdl", "source": f"{_UNITY}; {_CODE.format('examples/cpp/XDL/xdl.cc')}"},
    "candle-uno": {
        "family": "candle-uno",
        "source": f"{_UNITY}; {_CODE.format('examples/cpp/candle_uno/candle_uno.cc')}",
    },
}

NETWORKS: Mapping[str, Fields] = _IMAGES | _RECURRENT | _RECOMMENDERS
