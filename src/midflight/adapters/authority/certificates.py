"""Certificates as X509-SVID §4 and Appendix A want them: roots, intermediates, leaves.

P-256 and SHA-256 throughout. Nothing here is remembered and no file is read.
"""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from midflight.domain.spiffe import X509Svid

BACKDATED_S = 30
"""How far before now a certificate begins: clocks differ."""

DER = serialization.Encoding.DER

_LEAF_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_AUTHORITY_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_LEAF_PURPOSES = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS#8 DER, a secret."""
    return key.private_bytes(DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def new_root(
    trust_domain: str, key: ec.EllipticCurvePrivateKey, *, now: float, life_s: int
) -> x509.Certificate:
    """A self-signed root of a trust domain."""
    name = _name(trust_domain, "root")
    return (
        _builder(name, name, now=now, until=now + life_s)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_AUTHORITY_USAGE, critical=True)
        .add_extension(_uri(f"spiffe://{trust_domain}"), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def new_intermediate(
    trust_domain: str,
    public: ec.EllipticCurvePublicKey,
    *,
    root: x509.Certificate,
    root_key: ec.EllipticCurvePrivateKey,
    now: float,
    life_s: int,
) -> x509.Certificate:
    """An authority that signs leaves alone, under a root."""
    until = min(now + life_s, root.not_valid_after_utc.timestamp())
    return (
        _builder(_name(trust_domain, "intermediate"), root.subject, now=now, until=until)
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_AUTHORITY_USAGE, critical=True)
        .add_extension(_uri(f"spiffe://{trust_domain}"), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
            critical=False,
        )
        .sign(root_key, hashes.SHA256())
    )


def intermediate_request(trust_domain: str, key: ec.EllipticCurvePrivateKey) -> str:
    """A signing request in PEM for an intermediate."""
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_name(trust_domain, "intermediate"))
        .add_extension(_uri(f"spiffe://{trust_domain}"), critical=False)
        .sign(key, hashes.SHA256())
    )
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")


class LeafSigner:
    """Signs leaves with one authority, whose chain (DER, without the root) goes with each."""

    def __init__(self, chain: tuple[bytes, ...], key: bytes) -> None:
        """`ValueError` if they do not belong together."""
        self._chain = chain
        self._authority = x509.load_der_x509_certificate(chain[0])
        loaded = serialization.load_der_private_key(key, None)
        fits = loaded.public_key() == self._authority.public_key()
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or not fits:
            raise ValueError("certificate and key of the authority do not belong together")
        self._key = loaded
        self._key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(loaded.public_key())
        self.ends_at = int(self._authority.not_valid_after_utc.timestamp())

    def issue(self, spiffe_id: str, *, now: float, ttl_s: int, run: str | None = None) -> X509Svid:
        """A fresh key and its leaf, which names the run as its unit. About 0.3 ms."""
        key = new_key()
        until = min(int(now) + ttl_s, self.ends_at)
        serial = x509.random_serial_number()
        unit = NameOID.ORGANIZATIONAL_UNIT_NAME
        subject = x509.Name(
            [
                # Never the issuer's own name, or the leaf looks issued by itself to OpenSSL.
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "midflight workload"),
                x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{serial:x}"),
                *(() if run is None else (x509.NameAttribute(unit, run),)),
            ]
        )
        leaf = (
            _builder(subject, self._authority.subject, now=now, until=until, serial=serial)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_LEAF_USAGE, critical=True)
            .add_extension(_LEAF_PURPOSES, critical=False)
            .add_extension(_uri(spiffe_id), critical=False)
            .add_extension(self._key_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return X509Svid(
            spiffe_id=spiffe_id,
            serial=f"{serial:x}",
            chain=(leaf.public_bytes(DER), *self._chain),
            key=key_bytes(key),
            issued_at=int(now),
            expires_at=until,
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, *, now: float, until: float, serial: int | None = None
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(dt.datetime.fromtimestamp(int(now) - BACKDATED_S, dt.UTC))
        .not_valid_after(dt.datetime.fromtimestamp(int(until), dt.UTC))
    )


def _name(trust_domain: str, role: str) -> x509.Name:
    # A name of its own for every authority: two of one name and different keys confuse verifiers.
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "midflight"),
            # RFC 5280 appendix A.1: at most 64 characters.
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, trust_domain[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, role),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{x509.random_serial_number():x}"),
        ]
    )


def _uri(text: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(text)])


__all__ = [
    "BACKDATED_S",
    "LeafSigner",
    "intermediate_request",
    "key_bytes",
    "new_intermediate",
    "new_key",
    "new_root",
]
