"""Certificates that callers show: what one is called, before anybody believes it.

`x5t#S256` binds an access token to one (RFC 8705 §3.1). Whether a certificate proves a SPIFFE ID is
for `wire/spiffe/x509.py` to say; what is read here only finds the bundle that decides.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from midflight.domain import jose
from midflight.domain.errors import Unauthenticated
from midflight.domain.value import Value

MAX_CERTIFICATE = 16_384
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What reading a stranger's certificate raises, at once or when a part of it is asked for."""


class Certificate(Value):
    """What a certificate says of itself.

    Attributes:
        spiffe_id: the one URI among its names, or empty where there is none or are several.
        serial: its serial number in lower-case hexadecimal.
        expires_at: Unix seconds.
        run: the run that it names as its unit, or None; only an authority of ours is believed.
    """

    spiffe_id: str
    serial: str
    expires_at: int
    run: str | None = None


def read_certificate(der: bytes) -> Certificate:
    """What a certificate says of itself. `Unauthenticated` where it cannot be read."""
    if len(der) > MAX_CERTIFICATE:
        raise _unreadable()
    try:
        found = x509.load_der_x509_certificate(der)
        uris = _uris(found)
        return Certificate(
            spiffe_id=uris[0] if len(uris) == 1 else "",
            serial=f"{found.serial_number:x}",
            expires_at=int(found.not_valid_after_utc.timestamp()),
            run=_run(found),
        )
    except UNREADABLE:
        raise _unreadable() from None


def certificate_thumbprint(der: bytes) -> str:
    """`x5t#S256` of a certificate (RFC 8705 §3.1, RFC 7515 §4.1.8)."""
    return jose.digest(der)


def _run(certificate: x509.Certificate) -> str | None:
    units = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    return str(units[0].value) if len(units) == 1 else None


def _unreadable() -> Unauthenticated:
    return Unauthenticated("The client certificate cannot be read.")


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


__all__ = ["UNREADABLE", "Certificate", "certificate_thumbprint", "read_certificate"]
