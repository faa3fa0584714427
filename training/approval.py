"""Who may make a version champion: the gate must have passed, and where it is asked for, somebody else must agree.

Names are what the command line was told (or the operating system's user): that they are true is the business of who
may run `recsys promote` in the bank. What is kept here is that the two differ, and that both stand in the registry.
"""

from typing import Final, NamedTuple

from recsys.errors import RecsysError

GATE_PASSED: Final = "passed"
GATE_REFUSED: Final = "refused"
GATE_WAITS: Final = "passed, waits for approval"


class ApprovalError(RecsysError):
    """A version may not be promoted, or not by this approver."""


class Signatures(NamedTuple):
    """Who stands behind a version."""

    trainer: str
    approver: str | None
    """None: nobody has approved it."""
    needs_approver: bool
    """Whether the policy pack or the recipe asks for one."""

    def checked(self) -> "Signatures":
        """The same.

        Raises:
            ApprovalError: the approver is the trainer.
        """
        if self.approver is not None:
            require_other(self.approver, self.trainer)
        return self

    @property
    def complete(self) -> bool:
        """Whether nothing but the gate stands between the version and the alias `champion`."""
        return self.approver is not None or not self.needs_approver

    def gate(self, passed: bool) -> str:
        """What the registry says of the gate.

        >>> Signatures("ann", None, needs_approver=True).gate(passed=True)
        'passed, waits for approval'
        """
        if not passed:
            return GATE_REFUSED
        return GATE_PASSED if self.complete else GATE_WAITS


def require_other(approver: str, trainer: str) -> None:
    """Refuses a trainer's approval of his own model; case and spaces do not make another person.

    Raises:
        ApprovalError: the approver is the trainer, or nobody.
    """
    if not _name(approver):
        raise ApprovalError("--approver is empty: name the person who approves")
    if _name(approver) == _name(trainer):
        raise ApprovalError(f"--approver: {approver} trained this version: somebody else must approve it")


def require_passed(version: str, gate: str | None) -> None:
    """Refuses a version that its gate did not let through.

    Raises:
        ApprovalError: the gate refused it, or never saw it.
    """
    if gate not in (GATE_PASSED, GATE_WAITS):
        raise ApprovalError(
            f"version {version} did not pass its gate ({gate or 'none'}): approval cannot replace it, train again"
        )


def _name(text: str) -> str:
    return " ".join(text.casefold().split())
