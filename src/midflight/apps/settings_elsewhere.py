"""`[elsewhere]`: what counts as one place when a token is used from several."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from midflight.apps.settings_sections import Section
from midflight.services.detectors.elsewhere import Network


def _network(value: Any) -> Network:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError("is not a network such as 10.0.0.0/8")  # noqa: TRY004 -- pydantic collects ValueError only
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        raise ValueError("is not a network such as 10.0.0.0/8") from None


class ElsewherePlaces(Section):
    """`[elsewhere]`."""

    # Networks that are one place each: the ways out of one office, the addresses of one cluster.
    one_place: tuple[Annotated[Network, BeforeValidator(_network)], ...] = Field(
        default=(), max_length=64
    )


__all__ = ["ElsewherePlaces"]
