"""Channels: how a message leaves the house. An adapter each."""

import hashlib
import hmac
import json
import os
import smtplib
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple, Protocol

LABEL = "AI-generated"
"""Said of copy or pictures that a machine made."""


class DeliveryError(Exception):
    """A message did not leave; `transient` where a later try may succeed."""

    def __init__(self, text: str, *, transient: bool) -> None:
        super().__init__(text)
        self.transient = transient


class Message(NamedTuple):
    """What is sent."""

    message_id: str
    campaign_id: str
    recipient: str
    """The customer's id: the bank's own systems know his address."""
    channel: str
    product_id: str
    content_id: str
    copy: dict[str, Any]
    """headline, body, cta, disclaimer, opt_out, language, image, machine_made."""


class Channel(Protocol):
    """Sends messages."""

    once: bool
    """Whether giving it a message twice sends it once."""

    def deliver(self, message: Message) -> None:
        """Sends a message.

        Raises:
            DeliveryError: it did not leave.
        """


class FileDrop:
    """A folder that another system empties: one JSON file a message, named by its id."""

    once = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deliver(self, message: Message) -> None:
        """Writes the file whole or not at all; a second time it is the same file."""
        folder = self._folder / message.channel
        temporary = folder / f".{message.message_id}.partial"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8") as handle:
                json.dump(payload(message), handle, ensure_ascii=False, indent=1)
                handle.flush()
                os.fsync(handle.fileno())
            temporary.rename(folder / f"{message.message_id}.json")
        except OSError as error:
            raise DeliveryError(str(error), transient=True) from error


class Webhook:
    """Posts to a system of the bank, which tells repeats by `Idempotency-Key`.

    The body is signed: `X-Signature: t=<epoch seconds>,v1=<HMAC-SHA256 of "t.body">`.
    """

    once = True

    def __init__(self, url: str, key: bytes, timeout: float = 5.0, now: Callable[[], datetime] | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url} is no http address")
        self._url = url
        self._key = key
        self._timeout = timeout
        self._now = now or (lambda: datetime.now(UTC))

    def deliver(self, message: Message) -> None:
        """Posts the message; 2xx is sent, 4xx is refused for good (but 408 and 429), the rest may be tried again."""
        body = json.dumps(payload(message), ensure_ascii=False).encode()
        stamp = str(int(self._now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": message.message_id,
            "X-Signature": f"t={stamp},v1={signature(self._key, stamp, body)}",
        }
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310 - checked when it was made
        try:
            with urllib.request.urlopen(request, timeout=self._timeout):  # noqa: S310 - as above
                return
        except urllib.error.HTTPError as error:
            transient = error.code >= 500 or error.code in (408, 429)
            raise DeliveryError(f"HTTP {error.code}", transient=transient) from error
        except OSError as error:
            raise DeliveryError(str(error), transient=True) from error


class Smtp:
    """Mails through a relay, which finds the customer by an address of the bank's own gateway.

    A relay may accept a message and die before it says so: it is then not known whether the message left.
    """

    once = False

    def __init__(self, host: str, port: int, sender: str, domain: str, timeout: float = 10.0) -> None:
        """`domain` is the gateway's: mail goes to `<customer_id>@<domain>`."""
        self._host = host
        self._port = port
        self._sender = sender
        self._domain = domain
        self._timeout = timeout

    def deliver(self, message: Message) -> None:
        """Sends one mail with plain text, a label where a machine made it, and a way to opt out."""
        try:
            with smtplib.SMTP(self._host, self._port, timeout=self._timeout) as relay:
                relay.send_message(self.mail(message))
        except (smtplib.SMTPConnectError, ConnectionRefusedError) as error:
            raise DeliveryError(str(error), transient=True) from error
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise DeliveryError(f"refused: {codes}", transient=all(400 <= code < 500 for code in codes)) from error
        except smtplib.SMTPResponseException as error:
            raise DeliveryError(f"SMTP {error.smtp_code}", transient=400 <= error.smtp_code < 500) from error
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryError(str(error), transient=False) from error

    def mail(self, message: Message) -> EmailMessage:
        """The mail."""
        copy, mail = message.copy, EmailMessage()
        mail["From"] = self._sender
        mail["To"] = f"{message.recipient}@{self._domain}"
        mail["Subject"] = " ".join(str(copy.get("headline") or "").split())
        mail["Message-ID"] = f"<{message.message_id}@{self._domain}>"
        mail["List-Unsubscribe"] = f"<mailto:{self._sender}?subject=unsubscribe>"
        if copy.get("language"):
            mail["Content-Language"] = str(copy["language"])
        if copy.get("machine_made"):
            mail["X-Content-Label"] = LABEL
        parts = [copy.get(name) for name in ("body", "cta", "disclaimer", "opt_out")]
        parts += [LABEL if copy.get("machine_made") else None]
        mail.set_content("\n\n".join(str(part) for part in parts if part) + "\n")
        return mail


def payload(message: Message) -> dict[str, Any]:
    """A message as JSON."""
    label = LABEL if message.copy.get("machine_made") else None
    return {**message._asdict(), "copy": message.copy, "label": label}


def signature(key: bytes, stamp: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of `stamp.body`."""
    return hmac.digest(key, stamp.encode() + b"." + body, hashlib.sha256).hex()
