"""A signed webhook: JSON by POST, signed as Standard Webhooks says (`wire/webhook.py`).

    {"type": "notice.trigger", "timestamp": "…Z", "data": {"thread", "title", "severity", "more",
     "contact", "items": [{"notice", "subject", "title", "facts", "link", "answers"}]}}

`answers` are tickets by label, where answers are taken on this channel (`apps/hooks`).

`webhook-id` is the same whenever the same message is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from midflight.adapters.notify.posting import Poster, Secret
from midflight.domain.value import JSONObject
from midflight.services.ports.clock import Clock
from midflight.services.ports.notify import Item, Message
from midflight.wire import json
from midflight.wire.webhook import sign, signing_key


class WebhookChannel:
    """A `Channel`."""

    tracks = True

    def __init__(
        self,
        name: str,
        *,
        url: Secret,
        keys: Mapping[str, Secret],
        poster: Poster,
        clock: Clock,
    ) -> None:
        """`keys` by what errors call them: `whsec_…`, or `whsk_…` for Ed25519. All of them sign."""
        self.name = name
        self._url = url
        self._keys = dict(keys)
        self._poster = poster
        self._clock = clock

    async def tell(self, message: Message) -> None:
        """As the port says."""
        body = json.encode(_document(message))
        at = int(self._clock.now())  # of this very sending: receivers refuse what is old
        keys = [signing_key(read(), named=name) for name, read in self._keys.items()]
        headers = sign(keys, message=wire_id(message.id), at=at, body=body)
        await self._poster.post(self._url(), body, headers=headers)


def wire_id(text: str) -> str:
    """An id without a full stop, which the signature sets between its parts."""
    return text.replace(".", "_")


def _document(message: Message) -> JSONObject:
    at = datetime.fromtimestamp(message.at, tz=UTC)
    return {
        "type": f"notice.{message.telling.value}",
        "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "data": {
            "thread": message.thread,
            "title": message.title,
            "severity": message.severity.value,
            "contact": message.contact,
            "more": message.more,
            "items": [_item(each) for each in message.items],
        },
    }


def _item(item: Item) -> JSONObject:
    return {
        "notice": item.notice,
        "subject": item.subject,
        "title": item.title,
        "facts": [{"name": name, "value": value} for name, value in item.facts],
        "link": item.link,
        "answers": {button.label: button.ticket for button in item.buttons},
    }


__all__ = ["WebhookChannel", "wire_id"]
