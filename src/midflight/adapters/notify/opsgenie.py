"""Opsgenie-shaped: the Alert API, by alias. Jira Service Management has the same one elsewhere.

Source: Opsgenie, "Alert API": message at most 130 characters, alias 512, description 15,000,
details a map of texts; `acknowledge` and `close` under the alias with `identifierType=alias`.
"""

from __future__ import annotations

from urllib.parse import quote

from midflight.adapters.notify.posting import Poster, Secret
from midflight.domain.notice import Severity
from midflight.domain.plain import plain
from midflight.domain.value import JSONObject
from midflight.services.ports.notify import Message, Telling
from midflight.wire import json

URL = "https://api.opsgenie.com/v2/alerts"
_PRIORITIES = {
    Severity.CRITICAL: "P1",
    Severity.ERROR: "P2",
    Severity.WARNING: "P3",
    Severity.INFO: "P5",
}
_ENDINGS = {Telling.ACKNOWLEDGED: "acknowledge", Telling.RESOLVED: "close"}


class OpsgenieChannel:
    """A `Channel`."""

    tracks = True

    def __init__(self, name: str, *, url: str, key: Secret, poster: Poster, source: str) -> None:
        """`key` is the integration's; `source` says which Midflight this is."""
        self.name = name
        self._url = url.rstrip("/")
        self._key = key
        self._poster = poster
        self._source = source

    async def tell(self, message: Message) -> None:
        """As the port says."""
        url, body = self._url, document(message, source=self._source)
        ending = _ENDINGS.get(message.telling)
        if ending is not None:
            url = f"{url}/{quote(message.thread, safe='')}/{ending}?identifierType=alias"
            body: JSONObject = {"source": self._source, "user": plain(message.contact, 100)}
        headers = [("Authorization", f"GenieKey {self._key()}")]
        await self._poster.post(url, json.encode(body), headers=headers)


def document(message: Message, *, source: str) -> JSONObject:
    """An alert."""
    lines: list[str] = []
    details: dict[str, str] = {"contact": message.contact, "message": message.id}
    for item in message.items:
        lines += [plain(item.title, 200), f"  {item.subject}"]
        lines += [f"  {name}: {plain(value, 300)}" for name, value in item.facts]
        lines += [f"  {item.link}"] if item.link else []
    if message.more:
        lines.append(f"{message.more} more: midflight open")
    return {
        "message": plain(message.title, 130),
        "alias": message.thread[:512],
        "description": "\n".join(lines)[:15_000],
        "details": details,
        "priority": _PRIORITIES[message.severity],
        "source": source[:100],
        "entity": message.items[0].subject if message.items else message.thread,
    }


__all__ = ["URL", "OpsgenieChannel", "document"]
