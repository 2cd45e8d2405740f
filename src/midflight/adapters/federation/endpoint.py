"""Bundle endpoints of other trust domains (SPIFFE Federation §5): one GET, by nobody in particular.

    https_web     the endpoint shows a certificate of the public web, or of a CA file
    https_spiffe  it shows an X509-SVID with the SPIFFE ID that was configured, which verifies by
                  the bundle that is held of that ID's trust domain

Redirects are not followed, what is larger than 1 MiB is not read, and plain http is for loopback
alone, where it is asked for. Ten seconds are for everything together, so that one endpoint holds
up no other, and no content coding is taken. The answer is data until `services/bundles.py` takes
it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from midflight.domain.errors import Misconfigured, Unauthenticated, Unavailable
from midflight.domain.identity import trust_domain
from midflight.domain.spiffe import TrustBundle
from midflight.wire.spiffe.bundle import MAX_BUNDLE_BYTES
from midflight.wire.spiffe.x509 import leaf_spiffe_id

TIMEOUT_S = 10.0
_HEADERS = {"accept": "application/json", "accept-encoding": "identity"}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class WebEndpoint:
    """`BundleSource` with profile https_web."""

    def __init__(
        self,
        domain: str,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        loopback_http: bool = False,
    ) -> None:
        """`Misconfigured` unless `url` is https, or http of this machine with `loopback_http`."""
        check_url(url, loopback_http=loopback_http)
        self._domain = domain
        self._url = url
        self._tls = tls

    @property
    def trust_domain(self) -> str:
        """Whose bundle it is."""
        return self._domain

    async def fetch(self) -> bytes:
        """The document. `Unavailable` if there is none to be had."""
        return await _get(self._url, self._tls or True, lambda _: None)

    def __repr__(self) -> str:
        return f"WebEndpoint({self._domain!r}, {self._url!r})"


class SpiffeEndpoint:
    """`BundleSource` with profile https_spiffe."""

    def __init__(
        self,
        domain: str,
        url: str,
        *,
        endpoint: str,
        bundles: Callable[[str], TrustBundle | None],
    ) -> None:
        """`endpoint` is the SPIFFE ID that it has to prove; `bundles` gives those in force."""
        check_url(url, loopback_http=False)
        self._domain = domain
        self._url = url
        self._endpoint = endpoint
        self._bundles = bundles

    @property
    def trust_domain(self) -> str:
        """Whose bundle it is."""
        return self._domain

    async def fetch(self) -> bytes:
        """The document. `Unavailable` if there is none to be had, or from somebody else."""
        bundle = self._bundles(trust_domain(self._endpoint))
        if bundle is None or not bundle.x509_authorities:
            raise Unavailable(
                f"No bundle of {trust_domain(self._endpoint)} is held to verify its endpoint by.",
                hint="Configure a first bundle: bundle = FILE.",
            )
        return await _get(self._url, _anchored(bundle), self._check)

    def _check(self, leaf: bytes | None) -> None:
        # OpenSSL has followed the path to the bundle; whose leaf it is, is checked here.
        shown = None
        try:
            shown = None if leaf is None else leaf_spiffe_id(leaf)
        except Unauthenticated as error:
            raise Unavailable(f"The endpoint of {self._domain}: {error.message}") from None
        if shown != self._endpoint:
            raise Unavailable(
                f"The bundle endpoint of {self._domain} is not {self._endpoint}.",
                hint="Compare endpoint_spiffe_id with whoever runs it.",
            )

    def __repr__(self) -> str:
        return f"SpiffeEndpoint({self._domain!r}, {self._url!r})"


def check_url(url: str, *, loopback_http: bool) -> None:
    """`Misconfigured` unless a bundle may be fetched from there."""
    parts = urlsplit(url)
    local = loopback_http and parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not parts.hostname or (parts.scheme != "https" and not local):
        raise Misconfigured(
            f"The bundle endpoint {url} is not https.",
            hint="A bundle from the clear can be anybody's.",
        )


def _anchored(bundle: TrustBundle) -> ssl.SSLContext:
    """Trusts the authorities of one bundle; the name is checked by `SpiffeEndpoint`."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for der in bundle.x509_authorities:
        pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
        made.load_verify_locations(cadata=pem.decode("ascii"))
    return made


async def _get(
    url: str, tls: ssl.SSLContext | bool, check: Callable[[bytes | None], None]
) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async with (
            # The client's own limits are for each step: a byte every now and then meets them all.
            asyncio.timeout(TIMEOUT_S),
            httpx2.AsyncClient(
                verify=tls, trust_env=False, follow_redirects=False, timeout=TIMEOUT_S
            ) as client,
            client.stream("GET", url, headers=_HEADERS) as reply,
        ):
            if reply.status_code != 200:
                raise Unavailable(
                    f"The bundle endpoint {url} answers with status {reply.status_code}.",
                    hint="Redirects are not followed: configure where it really is.",
                )
            stream: Any = reply.extensions.get("network_stream")
            secured: Any = None if stream is None else stream.get_extra_info("ssl_object")
            check(None if secured is None else secured.getpeercert(binary_form=True))
            if reply.headers.get("content-encoding", "identity").lower() != "identity":
                raise Unavailable(f"The bundle of {url} comes in a coding that was not asked for.")
            async for part in reply.aiter_raw():
                size += len(part)
                if size > MAX_BUNDLE_BYTES:
                    raise Unavailable(f"The bundle of {url} is larger than 1 MiB.")
                parts.append(part)
    except TimeoutError:
        raise Unavailable(f"The bundle endpoint {url} takes over {TIMEOUT_S:g} s.") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise Unavailable(
            f"The bundle endpoint {url} cannot be read: {type(error).__name__}."
        ) from None
    return b"".join(parts)


__all__ = ["SpiffeEndpoint", "WebEndpoint", "check_url"]
