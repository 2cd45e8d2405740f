"""One byte form for one JSON value, so that equal values have equal digests.

Keys sorted by code point, no white space, UTF-8: msgspec's deterministic encoder. It differs from
RFC 8785 (JCS) in two ways that do not matter inside one product: keys sort by UTF-8 bytes instead
of UTF-16 units, and integers keep all their digits. An integral float is another value than the
integer (`1.0` is not `1`), as it is for the tools that receive it.
"""

from __future__ import annotations

import hashlib

import msgspec

from midflight.domain.value import JSON

_ENCODER = msgspec.json.Encoder(order="sorted")


def canonical(value: JSON) -> bytes:
    """The canonical bytes of a JSON value.

    Raises:
        msgspec.EncodeError / UnicodeEncodeError: only for values no strict decoder produces (lone
        surrogates, non-JSON types).
    """
    return _ENCODER.encode(value)


def sha256_hex(value: JSON) -> str:
    """SHA-256 in hex over the canonical bytes."""
    return hashlib.sha256(canonical(value)).hexdigest()


__all__ = ["canonical", "sha256_hex"]
