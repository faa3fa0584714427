"""Who runs a verb of the command line that not everybody may run: the same tokens and scopes as by the API."""

import asyncio
from typing import Final

from recsys.errors import RecsysError
from serving.auth.exposure import make_verifier
from serving.auth.keys import KeysUnreadableError
from serving.metrics import Metrics
from serving.settings import Mode, Settings
from serving.tokens import InvalidTokenError, Principal

TOKEN_VARIABLE: Final = "RECSYS_TOKEN"  # noqa: S105 - the name of a variable


class RefusedError(RecsysError):
    """Somebody may not do what he asks for.

    Args:
        message: why, and what to do.
        by: who, as far as it is known.
    """

    def __init__(self, message: str, by: str = "unknown") -> None:
        super().__init__(message)
        self.by = by


def authorise(settings: Settings, token: str | None, scope: str, operator: str) -> Principal:
    """Who acts.

    Args:
        settings: local or production.
        token: that was given.
        scope: that the verb needs.
        operator: the user of this machine. In local mode he needs no token: he could issue himself one.

    Raises:
        RefusedError: there is none in production, or one that is not valid or a customer's, or lacks the scope.
    """
    remedy = _remedy(settings, scope)
    if not token and settings.mode is Mode.LOCAL:
        return Principal(operator, frozenset((scope,)), None)
    if not token:
        raise RefusedError(f"this needs a token with the scope {scope}: {remedy}")
    try:
        principal = asyncio.run(_verify(settings, token))
    except InvalidTokenError as error:
        raise RefusedError(f"the token is not valid ({error}): {remedy}") from error
    except KeysUnreadableError as error:
        raise RefusedError("no token can be judged now: the keys of the identity provider cannot be read") from error
    if principal.customer_id is not None:
        raise RefusedError("this is for staff: a customer's token does not open it", principal.subject)
    if scope not in principal.scopes:
        raise RefusedError(f"the token of {principal.subject} lacks the scope {scope}: {remedy}", principal.subject)
    return principal


async def _verify(settings: Settings, token: str) -> Principal:
    verifier = make_verifier(settings, Metrics())
    await verifier.start()
    return await verifier.verify(token)


def _remedy(settings: Settings, scope: str) -> str:
    if settings.mode is Mode.LOCAL:
        return f"set {TOKEN_VARIABLE} to what `recsys token --service NAME --scope {scope}` prints"
    return f"set {TOKEN_VARIABLE} to one of the bank's identity provider that has it"
