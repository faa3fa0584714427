"""The only file that Feast scans: every entity, source, view and service of the manifest under RECSYS_HOME.

`feast apply` asks a module for its attributes with dir() and getattr(); these two functions (PEP 562) answer from the
manifest, so that nothing is read when the module is imported and no definition is written down twice.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

from feature_repo.services import repository
from recsys.errors import HomeError
from recsys.features.spec import FeatureManifest


@cache
def _definitions() -> dict[str, Any]:
    home = os.environ.get("RECSYS_HOME", "")
    if not Path(home).is_absolute():
        raise HomeError(f"RECSYS_HOME is `{home}`: set it to the absolute path of the home whose features to apply")
    features = Path(home) / "features"
    return {item.name: item for item in repository(FeatureManifest.read(features), features).objects()}


def __dir__() -> list[str]:
    return list(_definitions())


def __getattr__(name: str) -> Any:
    # Python itself asks every module for names such as __path__; those never lead to the manifest.
    if not name.startswith("__") and name in _definitions():
        return _definitions()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
