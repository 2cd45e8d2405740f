"""X509-SVIDs (SPIFFE X509-SVID §4, §5): a chain is followed to an authority of its trust domain.

The rules, each a sentence in the refusal:

    leaf       one URI SAN, a SPIFFE ID with a path; not an authority; Key Usage critical, digital
               signature, signs no certificates and no lists; Extended Key Usage, if there, for
               clients and servers alike; subject and issuer differ; key of a known strong kind
    authority  may sign certificates by both Basic Constraints and Key Usage; its path length
               suffices; if it has a URI SAN, that is its trust domain and no path
    each       in its validity; no critical extension that is not understood; signed with SHA-2
               or Ed25519 by the next one, whose subject is its issuer
    anchor     stands in the bundle, and in no other bundle than that of the leaf's trust domain

Certificates are taken in the order in which they are sent and none is left over, so that there is
one path, or none. Name constraints are not understood: a chain that needs them is refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from midflight.domain.errors import Unauthenticated
from midflight.domain.identity import spiffe_id, trust_domain
from midflight.domain.spiffe import TrustBundle

MAX_CHAIN = 8
MAX_CERTIFICATE_BYTES = 16_384

_UNDERSTOOD = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_MIN_RSA_BITS = 2_048
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def verify_x509_svid(chain: Sequence[bytes], *, bundle: TrustBundle, now: float) -> str:
    """The SPIFFE ID that the chain proves.

    Args:
        chain: DER certificates, the leaf first, as TLS sends them.
        bundle: of the leaf's trust domain.
        now: Unix seconds.

    Raises:
        Unauthenticated: it proves nothing; the message names the rule that does not hold.
    """
    if not 0 < len(chain) <= MAX_CHAIN or any(len(der) > MAX_CERTIFICATE_BYTES for der in chain):
        raise _refused(f"is not 1 to {MAX_CHAIN} certificates of bounded size")
    try:
        parsed = [x509.load_der_x509_certificate(der) for der in chain]
        anchors = [x509.load_der_x509_certificate(der) for der in bundle.x509_authorities]
        at = dt.datetime.fromtimestamp(now, dt.UTC)
        subject = _leaf(parsed[0])
        if trust_domain(subject) != bundle.trust_domain:
            raise _refused("is of another trust domain than the bundle")
        _follow(parsed, anchors, domain=bundle.trust_domain, at=at)
    except (*_UNREADABLE, OverflowError):
        raise _refused("cannot be read") from None
    return subject


def leaf_spiffe_id(der: bytes) -> str:
    """The SPIFFE ID of a leaf whose path somebody else has followed; by the rules for leaves.

    Raises:
        Unauthenticated: as `verify_x509_svid`.
    """
    try:
        return _leaf(x509.load_der_x509_certificate(der))
    except _UNREADABLE:
        raise _refused("cannot be read") from None


def _follow(
    chain: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    *,
    domain: str,
    at: dt.datetime,
) -> None:
    for below, certificate in enumerate(chain):
        if below:
            _authority(certificate, below - 1, domain=domain)
            _signed(chain[below - 1], certificate)
        _each(certificate, at)
    last = chain[-1]
    if len(chain) > 1 and last in anchors:
        return  # the anchor was sent along, or is an intermediate that the bundle holds itself
    for anchor in anchors:
        if anchor.subject == last.issuer and _holds(last, anchor):
            _each(anchor, at)
            _authority(anchor, len(chain) - 1, domain=domain)
            return
    raise _refused("leads to no authority of its trust domain")


def _leaf(leaf: x509.Certificate) -> str:
    extensions = leaf.extensions
    names = _names(leaf)
    if len(names) != 1:
        raise _refused("has not exactly one URI in its subject alternative name")
    constraints = _found(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.value.ca:
        raise _refused("is an authority, which speaks for no workload")
    usage = _found(extensions, x509.KeyUsage)
    if usage is None or not usage.critical or not usage.value.digital_signature:
        raise _refused("has no critical key usage for digital signatures")
    if usage.value.key_cert_sign or usage.value.crl_sign:
        raise _refused("may sign certificates or revocation lists, which a leaf must not")
    extended = _found(extensions, x509.ExtendedKeyUsage)
    if extended is not None and not {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    } <= set(extended.value):
        raise _refused("has an extended key usage that is not for both clients and servers")
    if leaf.subject == leaf.issuer:
        raise _refused("is issued by itself")
    _strong(leaf.public_key())
    try:
        return spiffe_id(names[0])
    except ValueError:
        raise _refused("names no workload by a SPIFFE ID") from None


def _authority(certificate: x509.Certificate, below: int, *, domain: str) -> None:
    """`below` is how many authorities stand between it and the leaf (RFC 5280 §4.2.1.9)."""
    constraints = _found(certificate.extensions, x509.BasicConstraints)
    usage = _found(certificate.extensions, x509.KeyUsage)
    if constraints is None or not constraints.value.ca:
        raise _refused("is signed by a certificate that is no authority")
    if usage is not None and not usage.value.key_cert_sign:
        raise _refused("is signed by an authority that may not sign certificates")
    if usage is None:
        raise _refused("is signed by an authority without a key usage")
    limit = constraints.value.path_length
    if limit is not None and below > limit:
        raise _refused("has more authorities than one of them allows")
    names = _names(certificate)
    if names and names != [f"spiffe://{domain}"]:
        raise _refused("is signed by an authority of another trust domain")
    _strong(certificate.public_key())


def _each(certificate: x509.Certificate, at: dt.datetime) -> None:
    if at < certificate.not_valid_before_utc:
        raise _refused("is not valid yet", hint="Compare the clocks.")
    if at > certificate.not_valid_after_utc:
        raise _refused("has expired", hint="Fetch a new one.")
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            raise _refused("has a critical extension that is not understood")
    if certificate.signature_algorithm_oid == SignatureAlgorithmOID.ED25519:
        return
    if not isinstance(certificate.signature_hash_algorithm, _HASHES):
        raise _refused("is signed with a weak algorithm")


def _signed(certificate: x509.Certificate, by: x509.Certificate) -> None:
    if certificate.issuer != by.subject or not _holds(certificate, by):
        raise _refused("is not a chain: a certificate is not signed by the next one")


Kind = TypeVar("Kind", bound=x509.ExtensionType)


def _found(extensions: x509.Extensions, kind: type[Kind]) -> x509.Extension[Kind] | None:
    try:
        return extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _holds(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _names(certificate: x509.Certificate) -> list[str]:
    found = _found(certificate.extensions, x509.SubjectAlternativeName)
    if found is None:
        return []
    return found.value.get_values_for_type(x509.UniformResourceIdentifier)


def _strong(key: object) -> None:
    match key:
        case ec.EllipticCurvePublicKey():
            good = key.curve.name in _CURVES
        case rsa.RSAPublicKey():
            good = key.key_size >= _MIN_RSA_BITS
        case ed25519.Ed25519PublicKey():
            good = True
        case _:
            good = False
    if not good:
        raise _refused("has a key of a weak or unknown kind")


def _refused(what: str, *, hint: str = "") -> Unauthenticated:
    return Unauthenticated(f"The X509-SVID {what}.", hint=hint)


__all__ = ["MAX_CHAIN", "leaf_spiffe_id", "verify_x509_svid"]
