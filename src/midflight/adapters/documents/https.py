"""One JSON object by https, from an address that was looked at first.

The name is resolved once, every address is judged, and the connection goes to an address that
passed: an answer of the DNS that changes in between changes nothing. No redirects, no proxies of
the environment, no content coding, no credentials, no cookies, one request a connection.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

import structlog

from midflight.adapters.documents.addresses import problem_of
from midflight.adapters.upstream.http_client import OPEN_GATE, HttpLimits, HttpTimeouts
from midflight.adapters.upstream.http_connection import Connection
from midflight.domain.errors import Malformed, NoDocument, UpstreamBroken
from midflight.services.ports.documents import DOCUMENT_BYTES, Document
from midflight.wire import json

TIMEOUT_S = 5.0
"""For everything together: resolving, connecting, and the last byte."""
MAX_URL = 2_048
MAX_LOOKUPS = 4
"""Names that are looked up at once; further ones wait, within their own time."""
_HOST = re.compile(r"(?:[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45})\Z")
_URL = re.compile(r"[\x21-\x7e]+\Z")
_JSON = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json\Z")
_MAX_AGE = re.compile(r"(?:\A|,)\s*max-age\s*=\s*\"?(\d{1,9})\"?\s*(?=,|\Z)")

log = structlog.get_logger(__name__)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) → addresses"""


class Resolver:
    """Addresses of hosts, in the order of the system's resolver (RFC 6724).

    Looking up blocks a thread, as long as the name's own servers please, and cannot be cut off. So
    it has few threads of its own: those of the event loop are for all of the plane.
    """

    def __init__(self) -> None:
        """A thread is started when one is needed."""
        self._threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="resolve")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """See `Resolve`."""
        look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class HttpsDocuments:
    """The `Documents` of a plane."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`tls` verifies the servers; default: the authorities of the system."""
        self._tls = tls
        self._resolve = resolve or Resolver()
        self._timeout = timeout_s

    async def fetch(
        self, url: str, *, limit: int = DOCUMENT_BYTES, allow_private: bool = False
    ) -> Document:
        """As the port says."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._fetch(url, limit=limit, allow_private=allow_private)
        except TimeoutError:
            reason = f"took over {self._timeout:g} s"
        except _Refused as refusal:
            reason = str(refusal)
        except ssl.SSLCertVerificationError as error:
            reason = f"shows a certificate that does not verify ({error.verify_message})"
        except (OSError, ssl.SSLError, UnicodeError) as error:
            reason = f"cannot be connected to ({type(error).__name__})"
        except UpstreamBroken as error:
            reason = error.message
        except Malformed as error:
            reason = f"is not strict JSON: {error.message}"
        log.warning("document_refused", url=url[:MAX_URL], reason=reason)
        raise NoDocument(
            "A document that is needed could not be fetched.",
            reason=reason,
            hint="The log of the plane says why.",
        )

    async def _fetch(self, url: str, *, limit: int, allow_private: bool) -> Document:
        host, port, target = _parts(url)
        addresses = await self._resolve(host, port)
        if not addresses:
            raise _Refused("has no address")
        for address in addresses:
            problem = problem_of(address, allow_private=allow_private)
            if problem:
                # One bad address spoils the name: whoever answers so means to get at it.
                raise _Refused(f"resolves to an address that {problem}")
        connection = await self._connect(host, port, addresses[0], limit=limit)
        try:
            response = connection.begin(OPEN_GATE)
            authority = f"[{host}]" if ":" in host else host
            shown = authority if port == 443 else f"{authority}:{port}"
            head = (
                f"GET {target} HTTP/1.1\r\nHost: {shown}\r\nAccept: application/json\r\n"
                "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
            )
            await connection.write(head.encode("ascii"), b"", OPEN_GATE)
            await response.head()
            if response.status != 200:
                raise _Refused(f"answered {response.status}; only 200 counts, and no redirect")
            if response.header(b"content-encoding").lower() not in {"", "identity"}:
                raise _Refused("came in a content coding that was not asked for")
            kind = response.header(b"content-type").partition(";")[0].strip().lower()
            if _JSON.match(kind) is None:
                raise _Refused("is of a content type that is not JSON")
            declared = response.header(b"content-length")
            if declared and (not declared.isdigit() or int(declared) > limit):
                raise _Refused(f"is larger than {limit} bytes")
            value = json.as_object(json.decode(await response.read()))
            if value is None:
                raise _Refused("is not a JSON object")
            return Document(value=value, max_age_s=_max_age(response.header(b"cache-control")))
        finally:
            connection.abort()

    async def _connect(self, host: str, port: int, address: str, *, limit: int) -> Connection:
        loop = asyncio.get_running_loop()
        if self._tls is None:
            # Reading the system's authorities takes milliseconds; many planes never fetch.
            self._tls = ssl.create_default_context()

        def make() -> Connection:
            return Connection(
                peer=host,
                limits=HttpLimits(head=16_384, headers=100, body=limit, buffer=limit + 1),
                timeouts=HttpTimeouts(connect=self._timeout, finish=self._timeout),
                on_free=_nothing,
                on_gone=_nothing,
            )

        _, connection = await loop.create_connection(
            make, address, port, ssl=self._tls, server_hostname=host
        )
        return connection


def _nothing(_: Connection) -> None:
    """One exchange a connection: nobody waits for the next."""


def _parts(url: str) -> tuple[str, int, str]:
    """(host, port, request target) of an https URL that is nothing else besides."""
    if len(url) > MAX_URL or _URL.match(url) is None or "\\" in url:
        raise _Refused("is not a plain URL")
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError:
        raise _Refused("is not a URL") from None
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme != "https" or "@" in parts.netloc or parts.fragment or "#" in url:
        raise _Refused("is not an https URL without credentials and fragment")
    if _HOST.match(host) is None:
        raise _Refused("names no host")
    return host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _max_age(value: str) -> int | None:
    lowered = value.lower()
    if "no-store" in lowered or "no-cache" in lowered:
        return 0
    found = _MAX_AGE.search(lowered)
    return None if found is None else int(found[1])


class _Refused(Exception):
    """Why a document is not taken; for logs."""


__all__ = ["MAX_LOOKUPS", "TIMEOUT_S", "HttpsDocuments", "Resolve", "Resolver"]
