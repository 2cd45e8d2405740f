"""Tells whoever pressed a button in Slack what came of it, in a line that he alone sees.

The address comes with the interaction, whose signature held; it counts only if it leads to the very
host that the channel's own webhook is at. What fails is logged, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import structlog

from midflight.adapters.notify.posting import Poster, Secret
from midflight.domain.errors import MidflightError
from midflight.domain.plain import plain
from midflight.wire import json

MAX_URL = 1_024
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})

log = structlog.get_logger(__name__)


class SlackReplies:
    """See the module."""

    def __init__(self, channels: Mapping[str, tuple[Secret, Poster]]) -> None:
        """By channel: the address of its webhook, and what sends for it."""
        self._channels = channels

    async def reply(self, channel: str, where: str, text: str) -> None:
        """Tell. Never raises."""
        found = self._channels.get(channel)
        if found is None:
            return
        url, poster = found
        try:
            if not _is_beside(where, url()):
                log.warning("reply_not_sent", channel=channel, why="leads to another host")
                return
            body = {
                "response_type": "ephemeral",
                "replace_original": False,
                "text": plain(text, 300).translate(_ESCAPES),
                "parse": "none",
                "link_names": False,
            }
            await poster.post(where, json.encode(body))
        except MidflightError as error:
            log.warning("reply_not_sent", channel=channel, why=error.message)


def _is_beside(where: str, own: str) -> bool:
    """Whether both lead to the same scheme, host and port."""
    if len(where) > MAX_URL:
        return False
    try:
        there, here = urlsplit(where), urlsplit(own)
        return bool(here.hostname) and (there.scheme, there.hostname, there.port) == (
            here.scheme,
            here.hostname,
            here.port,
        )
    except ValueError:
        return False


__all__ = ["SlackReplies"]
