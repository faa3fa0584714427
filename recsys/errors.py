"""The errors a user can meet. Each names the thing, the rule and the remedy; the command line prints them plainly."""


class RecsysError(Exception):
    """The base of all errors that are the input's fault, not the program's. The command line exits with 1."""


class ConfigError(RecsysError):
    """A config file or `--set` value cannot be used."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(f"{source}: {problem}")


class DatasetError(RecsysError):
    """A dataset directory breaks the data contract; `findings` holds one line per broken rule."""

    def __init__(self, dataset: str, findings: list[str]) -> None:
        self.findings = findings
        listing = "\n".join(f"  - {finding}" for finding in findings)
        super().__init__(f"{dataset} breaks the data contract ({len(findings)} finding(s)):\n{listing}")


class HomeError(RecsysError):
    """The state directory belongs to another dataset, or lacks what a command needs."""


class FeatureError(RecsysError):
    """A feature table does not have the columns, types or dimensions that were promised."""


class ModelError(RecsysError):
    """There is no model to use, or it does not fit the features."""


class SchemaMismatchError(ModelError):
    """A bundle was trained on other features than the store holds."""

    def __init__(self, bundle_hash: str, store_hash: str) -> None:
        super().__init__(
            f"the champion was trained on feature schema {bundle_hash}, the feature store holds {store_hash}: "
            "run `recsys train` on the present features, or restore the features that the champion was trained on"
        )


class InfeasibleError(RecsysError):
    """A campaign whose limits contradict each other."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("no plan meets all limits: " + "; ".join(reasons))
        self.reasons = reasons
