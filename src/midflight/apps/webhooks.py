"""Signed webhooks between a request and `wire/webhook.py`: its headers, and the keys of settings.

For signals (`gateway/signals.py`) and hooks (`hooks/kinds.py`), so that both take the same.
"""

from __future__ import annotations

from midflight.apps.server.asgi import Headers, header_values
from midflight.apps.settings_values import Reference
from midflight.wire.webhook import Key, Verifier, Webhook, verifying_key


def keys_of(
    place: str, secret: Reference, *, previous: Reference | None, until: int | None, now: float
) -> tuple[Key, ...]:
    """The keys of a sender, read now. `place` is the table of the settings.

    A previous one that has ended need not be there any more.

    Raises:
        Misconfigured: one cannot be read, or is none; the message names the setting.
    """
    keys = [Key(verifier=_key(f"{place}.secret", secret))]
    if previous is not None and until is not None and now < until:
        keys.append(Key(verifier=_key(f"{place}.previous_secret", previous), until=until))
    return tuple(keys)


def webhook_of(headers: Headers) -> Webhook:
    """The headers of a request that are a webhook's."""

    def values(name: bytes) -> tuple[str, ...]:
        return tuple(each.decode("latin-1") for each in header_values(headers, name))

    return Webhook(
        id=values(b"webhook-id"),
        timestamp=values(b"webhook-timestamp"),
        signature=values(b"webhook-signature"),
    )


def _key(setting: str, reference: Reference) -> Verifier:
    return verifying_key(reference.read(), named=f"{setting} ({reference})")


__all__ = ["keys_of", "webhook_of"]
