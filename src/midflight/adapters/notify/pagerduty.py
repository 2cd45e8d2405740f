"""PagerDuty-shaped: Events API v2, `trigger`, `acknowledge` and `resolve` by `dedup_key`.

Source: PagerDuty, "Events API v2 Overview" and "Send an Alert Event": summary at most 1,024
characters, `dedup_key` at most 255, severities critical, error, warning and info.
"""

from __future__ import annotations

from datetime import UTC, datetime

from midflight.adapters.notify.posting import Poster, Secret
from midflight.domain.plain import plain
from midflight.domain.value import JSONObject
from midflight.services.ports.notify import Message, Telling
from midflight.wire import json

URL = "https://events.pagerduty.com/v2/enqueue"


class PagerDutyChannel:
    """A `Channel`."""

    tracks = True

    def __init__(self, name: str, *, url: str, key: Secret, poster: Poster, source: str) -> None:
        """`key` is the integration's; `source` says which Midflight this is."""
        self.name = name
        self._url = url
        self._key = key
        self._poster = poster
        self._source = source

    async def tell(self, message: Message) -> None:
        """As the port says."""
        event = document(message, source=self._source) | {"routing_key": self._key()}
        await self._poster.post(self._url, json.encode(event))


def document(message: Message, *, source: str) -> JSONObject:
    """The event, without the key."""
    event: JSONObject = {
        "event_action": message.telling.value,
        "dedup_key": message.thread[:255],
    }
    if message.telling is not Telling.OPENED:
        return event
    at = datetime.fromtimestamp(message.at, tz=UTC)
    links = [
        {"href": item.link, "text": plain(item.title, 100)} for item in message.items if item.link
    ]
    return event | {
        "client": "Midflight",
        "links": links,
        "payload": {
            "summary": plain(message.title, 1_024),
            "source": source,
            "severity": message.severity.value,
            "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "custom_details": {
                "contact": message.contact,
                "more": message.more,
                "message": message.id,
                "questions": [
                    {
                        "title": item.title,
                        "subject": item.subject,
                        "facts": [f"{name}: {plain(value, 300)}" for name, value in item.facts],
                    }
                    for item in message.items
                ],
            },
        },
    }


__all__ = ["URL", "PagerDutyChannel", "document"]
