"""Slack-shaped: an incoming webhook, a message of blocks, buttons that carry tickets.

What strangers wrote stands in `plain_text` objects, which have no markup: no mention, no link and
no format. The three characters that Slack reads even there are escaped, as its "Formatting text"
says. Emoji codes are off.
"""

from __future__ import annotations

from midflight.adapters.notify.posting import Poster, Secret
from midflight.domain.plain import plain
from midflight.domain.value import JSONObject
from midflight.services.ports.notify import Item, Message
from midflight.wire import json

MAX_ITEMS = 5
"""What Slack sends back when a button is pressed holds the whole message."""
MAX_TEXT = 2_000
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class SlackChannel:
    """A `Channel`."""

    tracks = False

    def __init__(self, name: str, *, url: Secret, poster: Poster) -> None:
        """`url` is the incoming webhook's: whoever knows it can post, so it is a secret."""
        self.name = name
        self._url = url
        self._poster = poster

    async def tell(self, message: Message) -> None:
        """As the port says."""
        await self._poster.post(self._url(), json.encode(document(message)))


def document(message: Message) -> JSONObject:
    """The message as blocks: header, a section and the buttons of each item, context below."""
    blocks: list[JSONObject] = [{"type": "header", "text": _plain(message.title, 150)}]
    for item in message.items[:MAX_ITEMS]:
        blocks.append({"type": "section", "text": _plain(_lines(item), MAX_TEXT, lines=True)})
        if item.buttons:
            blocks.append(_actions(item))
    more = message.more + max(0, len(message.items) - MAX_ITEMS)
    told = f"Midflight for {message.contact}, {message.thread}"
    if more:
        told += f"; {more} more: midflight open"
    blocks.append({"type": "context", "elements": [_plain(told, 300)]})
    return {
        # What notifications show: read as markup by older clients, so it says nothing of others.
        "text": _bounded(message.title, 150, lines=False),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
        "link_names": False,
        "parse": "none",
    }


def _lines(item: Item) -> str:
    lines = [item.title, *(f"{name}: {value}" for name, value in item.facts)]
    if item.link:
        lines.append(item.link)
    return "\n".join(plain(line, 300) for line in lines)


def _actions(item: Item) -> JSONObject:
    elements: list[JSONObject] = []
    for number, button in enumerate(item.buttons):
        element: JSONObject = {
            "type": "button",
            "action_id": f"midflight-{number}",
            "text": _plain(button.label, 70),
            "value": button.ticket,
        }
        if button.is_danger:
            element["style"] = "danger"
        elements.append(element)
    return {"type": "actions", "block_id": item.notice[:255], "elements": elements}


def _plain(text: str, limit: int, *, lines: bool = False) -> JSONObject:
    shown = "\n".join(_escaped(line, limit) for line in text.split("\n")) if lines else text
    return {"type": "plain_text", "text": _bounded(shown, limit, lines=lines), "emoji": False}


def _escaped(text: str, limit: int) -> str:
    return plain(text, limit).translate(_ESCAPES)


def _bounded(text: str, limit: int, *, lines: bool) -> str:
    """At most `limit` characters once escaped: Slack refuses a whole message for one too long."""
    shown = text if lines else _escaped(text, limit)
    if len(shown) <= limit:
        return shown
    # Not in the middle of an escape, which is at most five characters.
    cut = shown[: limit - 1]
    at = cut.rfind("&")
    if at >= len(cut) - 5 and ";" not in cut[at:]:
        cut = cut[:at]
    return cut + "…"


__all__ = ["MAX_ITEMS", "SlackChannel", "document"]
