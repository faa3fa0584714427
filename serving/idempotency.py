"""Idempotency keys: who asks again with the same key and body, because he heard nothing, gets the same answer.

The header is `Idempotency-Key` (the IETF's draft of that name). Without it nothing here costs anything. Where the SQL
store cannot be reached, an answer is given without the promise: then the header `Idempotency-Key` does not come back.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from hashlib import blake2b, sha256
from http import HTTPStatus
from typing import Annotated, Final, TypeVar
from uuid import uuid4

from fastapi import Header, Request, Response
from pydantic import BaseModel

from serving.guard import Guard, UnavailableError
from serving.problems import ProblemError
from serving.store.database import Store
from serving.store.idempotency import Attempt, IdempotencyStore, Standing

LOGGER: Final = logging.getLogger("recsys.serving")
HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
LEASE: Final = timedelta(seconds=10)
"""For so long a request counts as being answered: longer than any is."""
_FORM: Final = re.compile(r'^"?[\x21\x23-\x7e]{1,255}"?$')
Answer = TypeVar("Answer", bound=BaseModel)
KeyHeader = Annotated[
    str | None,
    Header(
        alias=HEADER,
        max_length=257,
        description="The same key with the same body gets the same answer for a day; with another body it is refused",
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]


class Idempotency:
    """Answers once per key.

    Args:
        store: keeps the answers.
        guard: how patiently it is asked.
        key: of the digests under which answers are kept.
        kept: for how long.
    """

    def __init__(self, store: Store, guard: Guard, key: bytes, kept: timedelta) -> None:
        self._answers = IdempotencyStore(store)
        self._guard = guard
        self._key = key[:64]
        self._kept = kept

    async def once(
        self, request: Request, customers: Sequence[str], compute: Callable[[], Awaitable[Answer]]
    ) -> Answer | Response:
        """The answer that `compute` gives, or gave before to the same request with the same key.

        Args:
            request: may have a key.
            customers: whom it is about.
            compute: answers; what it raises is not kept.

        Raises:
            ProblemError: 422 where the key is no key, or was used with another body; 409 where a request with it is
                being answered.
        """
        given = request.headers.get(HEADER)
        if given is None:
            return await compute()
        attempt = await self._attempt(request, given)
        services = request.app.state.services
        try:
            claim = await self._guard.call(self._answers.claim, attempt, customers, services.clock(), LEASE)
        except UnavailableError:
            return await compute()
        if claim.standing is Standing.ANSWERED and claim.answer is not None:
            return _json(claim.answer, given, replayed=True)
        _refuse(claim.standing)
        try:
            answer = await compute()
        except BaseException:
            await self._quietly(self._answers.release, attempt)
            raise
        content = answer.model_dump_json().encode()
        if not await self._quietly(self._answers.answer, attempt, content, services.clock() + self._kept):
            return answer
        return _json(content, given)

    def close(self) -> None:
        """Takes no more requests."""
        self._guard.close()

    async def _attempt(self, request: Request, given: str) -> Attempt:
        if not _FORM.match(given):
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"{HEADER}: 1 to 255 printable ASCII characters, for example a UUID"
            )
        who = f"{request.state.subject}\n{request.method} {request.url.path}\n{given.strip(chr(34))}"
        asked = await request.body() + b"\n" + request.headers.get("accept-language", "").encode()
        key = blake2b(who.encode(), key=self._key, digest_size=32).hexdigest()
        return Attempt(key, sha256(asked).hexdigest(), uuid4().hex)

    async def _quietly(self, write: Callable[..., None], *values: object) -> bool:
        """Whether it was written; where not, the lease ends by itself."""
        try:
            await self._guard.call(write, *values)
        except UnavailableError:
            return False
        return True


def _refuse(standing: Standing) -> None:
    if standing is Standing.OTHER_REQUEST:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{HEADER}: was used with another body; use a new key")
    if standing is not Standing.OURS:
        raise ProblemError(
            HTTPStatus.CONFLICT, f"{HEADER}: a request with this key is being answered", {"Retry-After": "1"}
        )


def _json(content: bytes, key: str, *, replayed: bool = False) -> Response:
    headers = {HEADER: key} | ({REPLAYED: "true"} if replayed else {})
    return Response(content, media_type="application/json", headers=headers)
