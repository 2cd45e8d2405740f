"""Which addresses a document may be fetched from: what keeps a URL from reaching inwards.

Judged is the address that is connected to, after resolution; a name says nothing. Pure. Sources:
the IANA special-purpose registries, and where clouds serve credentials to whoever asks.
"""

from __future__ import annotations

import ipaddress

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Serve credentials of the machine to whoever asks from it; never allowed, whatever settings say.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # most clouds; link-local, too
        "fd00:ec2::254",  # AWS over IPv6
        "fd20:ce::254",  # Google over IPv6
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure's WireServer, a public address by its number
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
_NOT_UNICAST = tuple(
    ipaddress.IPv6Network(text) for text in ("2002::/16", "2001::/32", "2001:db8::/32", "3fff::/20")
)
_UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")
_PRIVATE_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8")
)


def problem_of(text: str, *, allow_private: bool) -> str:
    """Why this address must not be connected to, or an empty text.

    `allow_private` lets in loopback and private networks, and nothing that is link-local,
    multicast, unspecified, reserved, or serves the credentials of machines.
    """
    try:
        address = _plain(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return "is no address"
    if "%" in text:
        return "is link-local"
    if address in _METADATA or address.is_link_local:
        return "is link-local or serves credentials of the machine"
    if address.is_multicast or address.is_unspecified:
        return "is no address of one machine"
    if _is_public(address) or (allow_private and _is_private(address)):
        return ""
    return "is not a public address"


def _plain(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 one stands for (RFC 4291 §2.5.5.2, RFC 6052 §2.1)."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_public(address: IpAddress) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global
    tunnelled = any(address in network for network in _NOT_UNICAST)
    return address in _UNICAST and address.is_global and not tunnelled


def _is_private(address: IpAddress) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in network for network in _PRIVATE_V4)
    return address.is_loopback or address in _UNIQUE_LOCAL


__all__ = ["problem_of"]
