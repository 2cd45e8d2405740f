"""Intermediates that an operator gives in files: certificates and key of an upstream authority.

Whoever renews them replaces the files; the new one is taken up like any other, with an overlap.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from midflight.adapters.authority.certificates import DER, key_bytes
from midflight.adapters.authority.rolling import Generation
from midflight.domain.errors import Conflict, Misconfigured

MAX_FILE_BYTES = 65_536
MAX_CERTIFICATES = 4


class UpstreamFiles:
    """`Source`: an intermediate, its key, and the roots above it, as PEM files."""

    def __init__(self, *, certificate: Path, key: Path, roots: Path, trust_domain: str) -> None:
        """`certificate` holds the intermediate first and whatever is between it and a root."""
        self._certificate = certificate
        self._key = key
        self._roots = roots
        self._trust_domain = trust_domain

    async def obtain(self, *, now: float, root: bool) -> Generation:
        """What is in the files now.

        Raises:
            Misconfigured: unreadable, open to others, expired, or not a chain to one of the roots.
            Conflict: a new root was asked for, which is not ours to make.
        """
        if root:
            raise Conflict(
                "The root belongs to the upstream authority.",
                hint="Replace the files once it has a new one.",
            )
        return await asyncio.to_thread(self._obtain, now)

    def differs(self, signing: Generation) -> bool:
        """Whether another intermediate is in the files. One that cannot be read is no other."""
        try:
            return _der(self._certificate) != signing.chain
        except Misconfigured:
            return False

    def _obtain(self, now: float) -> Generation:
        chain, roots = _der(self._certificate), _der(self._roots)
        key = _private_key(self._key)
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        own = certificates[0]
        if key.public_key() != own.public_key():
            raise Misconfigured(f"{self._key} is not the key of {self._certificate}.")
        _check_chain(certificates, [x509.load_der_x509_certificate(der) for der in roots])
        _check_names(own, self._trust_domain)
        begins = int(own.not_valid_before_utc.timestamp())
        ends = int(min(one.not_valid_after_utc.timestamp() for one in certificates))
        if not begins <= now < ends:
            raise Misconfigured(
                f"The upstream intermediate in {self._certificate} is not in force.",
                hint="Replace it by one that is.",
            )
        return Generation(roots=roots, chain=chain, key=key_bytes(key), begins=begins, ends=ends)


def _check_chain(chain: list[x509.Certificate], roots: list[x509.Certificate]) -> None:
    for one in chain:
        try:
            may_sign = one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except (x509.ExtensionNotFound, ValueError):
            may_sign = False
        if not may_sign:
            raise Misconfigured("An upstream certificate may not sign certificates.")
    for below, above in itertools.pairwise(chain):
        if not _signed(below, above):
            raise Misconfigured("The upstream certificates are not a chain, the issuer next.")
    if not any(_signed(chain[-1], root) for root in roots):
        raise Misconfigured("The upstream certificates lead to none of the upstream roots.")


def _signed(below: x509.Certificate, above: x509.Certificate) -> bool:
    try:
        below.verify_directly_issued_by(above)
    except Exception:  # noqa: BLE001 -- it raises several kinds; each means that it is not signed
        return False
    return True


def _check_names(own: x509.Certificate, trust_domain: str) -> None:
    try:
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return
    found = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    if found and found != [f"spiffe://{trust_domain}"]:
        raise Misconfigured("The upstream intermediate is of another trust domain.")


def _der(path: Path) -> tuple[bytes, ...]:
    try:
        found = x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        found = []
    if not 0 < len(found) <= MAX_CERTIFICATES:
        raise Misconfigured(f"{path} does not hold 1 to {MAX_CERTIFICATES} PEM certificates.")
    return tuple(one.public_bytes(DER) for one in found)


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        status = path.stat()
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}.") from None
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or status.st_uid not in {0, os.geteuid()}:
        raise Misconfigured(f"{path} is open to others.", hint="chmod 600, and replace the key.")
    key: object = None
    try:
        key = serialization.load_pem_private_key(_read(path), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Misconfigured(f"{path} is not an unencrypted EC key in PEM.")
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > MAX_FILE_BYTES:
        raise Misconfigured(f"{path} is larger than 64 KiB.")
    return content


__all__ = ["UpstreamFiles"]
