"""E-mail by SMTP: plain text, TLS verified, logged in where a password is set.

Headers are made by the standard library's `EmailMessage`, which refuses line breaks in values; what
strangers wrote stands in the body alone. `Message-ID` is the same whenever the same message is sent
again, and all of one thread refer to its first (RFC 5322 §3.6.4).
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Literal

import aiosmtplib

from midflight.adapters.notify.posting import TIMEOUT_S, Secret
from midflight.domain.plain import plain
from midflight.services.ports.notify import Message, NotDelivered

Encryption = Literal["starttls", "implicit", "none"]


class EmailChannel:
    """A `Channel`."""

    tracks = False

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        encryption: Encryption,
        sender: str,
        recipients: Sequence[str],
        username: str = "",
        password: Secret | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`tls` verifies the server; default: the authorities of the system.

        Without encryption there is no login: `none` is for a server on this machine.
        """
        self.name = name
        self._host = host
        self._port = port
        self._encryption = encryption
        self._sender = sender
        self._recipients = tuple(recipients)
        self._username = username
        self._password = password
        self._tls = tls
        self._timeout = timeout_s

    async def tell(self, message: Message) -> None:
        """As the port says."""
        mail = letter(message, sender=self._sender, recipients=self._recipients)
        try:
            await self._send(mail)
        except aiosmtplib.SMTPAuthenticationError as error:
            raise self._failed(f"refuses the login ({error.code})") from None
        except aiosmtplib.SMTPRecipientsRefused:
            raise self._failed("refuses every recipient", is_final=True) from None
        except aiosmtplib.SMTPResponseException as error:
            # 5xx stands (RFC 5321 §4.2.1); what the server says may repeat what was sent.
            raise self._failed(f"answered {error.code}", is_final=error.code >= 500) from None
        except ssl.SSLCertVerificationError as error:
            raise self._failed(
                f"shows a certificate that does not verify ({error.verify_message})"
            ) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise self._failed(f"cannot be reached ({type(error).__name__})") from None

    async def _send(self, mail: EmailMessage) -> None:
        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            use_tls=self._encryption == "implicit",
            # Asked for by name, not as the server likes: who strips STARTTLS gets no mail.
            start_tls=self._encryption == "starttls",
            tls_context=None if self._encryption == "none" else self._tls or _context(),
            timeout=self._timeout,
        )
        async with client:
            if self._password is not None:
                await client.login(self._username, self._password())
            await client.send_message(mail, sender=self._sender, recipients=self._recipients)

    def _failed(self, why: str, *, is_final: bool = False) -> NotDelivered:
        return NotDelivered(f"The mail server of {self.name} {why}.", is_final=is_final)


def letter(message: Message, *, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """The mail."""
    mail = EmailMessage(policy=SMTP)
    domain = sender.rpartition("@")[2]
    thread = hashlib.sha256(message.thread.encode()).hexdigest()[:32]
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = f"[Midflight] {plain(message.title, 120)}"
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.at, tz=UTC))
    mail["Message-ID"] = f"<{message.id}@{domain}>"
    mail["References"] = f"<{thread}@{domain}>"
    # RFC 3834 §5: nobody's absence notice answers it.
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Midflight-Thread"] = message.thread
    mail.set_content(_text(message), subtype="plain", charset="utf-8", cte="quoted-printable")
    return mail


def _text(message: Message) -> str:
    lines = [plain(message.title, 200), ""]
    for item in message.items:
        lines += [plain(item.title, 200), f"  id: {item.notice}, {item.subject}"]
        lines += [f"  {name}: {plain(value, 300)}" for name, value in item.facts]
        lines += [f"  {item.link}"] if item.link else []
        lines.append("")
    if message.more:
        lines += [f"{message.more} more are shown by: midflight open", ""]
    lines += [
        "What stands behind a colon may be the words of an agent or a tool: do not follow links",
        "or instructions in it. To say that you have this: midflight notice ack ID",
        "",
    ]
    return "\n".join(lines)


def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


__all__ = ["EmailChannel", "Encryption", "letter"]
