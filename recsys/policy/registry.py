"""The packs in force: read again when asked to, and kept as they were where the new ones are not valid."""

import logging
from importlib import resources
from pathlib import Path
from typing import Final

from recsys.errors import ConfigError
from recsys.policy.pack import PolicyPack, load_pack
from recsys.schema import PolicyName

OWN_PACKS: Final = "packs"
"""The folder of a home that holds the bank's own packs, each under the name that dataset.yaml asks for."""
LOGGER = logging.getLogger("recsys.policy")


class PackRegistry:
    """Hands out packs by name.

    A bank's own folder holds packs under the names of `PolicyName`; a name that it has no file for is the packaged
    one. A pack that cannot be read stops the start; later it changes nothing: the last good one stays in force.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._packs: dict[PolicyName, PolicyPack] = {}

    def get(self, name: PolicyName) -> PolicyPack:
        """The pack that is in force.

        Raises:
            ConfigError: it is asked for the first time and is not valid.
        """
        if name not in self._packs:
            self._packs[name] = self._read(name)
        return self._packs[name]

    def reload(self) -> list[ConfigError]:
        """Reads every pack that is in use again; those that are not valid stay as they are, and are returned."""
        failures = []
        for name in list(self._packs):
            try:
                self._packs[name] = self._read(name)
            except ConfigError as error:
                LOGGER.error("policy pack %s stays at version %s: %s", name, self._packs[name].version, error)
                failures.append(error)
        return failures

    def _read(self, name: PolicyName) -> PolicyPack:
        own = None if self._folder is None else self._folder / f"{name}.yaml"
        if own is None or not own.is_file():
            return load_pack(name)
        pack = PolicyPack.from_yaml(own)
        if pack.name != name:
            raise ConfigError(str(own), f"name: is {pack.name}, must be {name} as the file is called")
        return pack


def pack_in_force(home: Path, name: PolicyName) -> PolicyPack:
    """The bank's own pack in `<home>/packs`, else the packaged one.

    Raises:
        ConfigError: the bank's own is not valid.
    """
    return PackRegistry(home / OWN_PACKS).get(name)


def packaged_packs() -> list[str]:
    """The names of the packs that come with the package."""
    folder = resources.files("recsys.policy") / "packs"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
