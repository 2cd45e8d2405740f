"""Tools, prompts, templates and instructions of an upstream: their definitions and pins.

A definition is pinned by the digest of all of it as served, so a change of one word of a
description is a change. What is not pinned, or has drifted from its pin, is denied.
"""

from __future__ import annotations

import enum

from midflight.domain.canonical import sha256_hex
from midflight.domain.traits import Traits
from midflight.domain.value import JSONObject, Value


class PinnedKind(enum.StrEnum):
    """What can be pinned."""

    TOOL = "tool"
    PROMPT = "prompt"
    TEMPLATE = "template"
    INSTRUCTIONS = "instructions"


class Definition(Value):
    """One operation of an upstream as it was served: the whole object, unknown fields included."""

    upstream: str
    kind: PinnedKind
    name: str
    body: JSONObject

    def digest(self) -> str:
        """SHA-256 in hex over upstream, kind and the whole body."""
        return sha256_hex(["midflight/pin/v1", self.upstream, self.kind.value, self.body])


class Pin(Value):
    """An operator's word that this definition is the one that was looked at."""

    upstream: str
    kind: PinnedKind
    name: str
    digest: str
    body: JSONObject
    traits: Traits = Traits()
    by: str = ""
    at: int = 0


class PinState(enum.StrEnum):
    """How the definition now served relates to the pin."""

    PINNED = "pinned"
    UNPINNED = "unpinned"
    DRIFTED = "drifted"
    GONE = "gone"


__all__ = [
    "Definition",
    "Pin",
    "PinState",
    "PinnedKind",
]
