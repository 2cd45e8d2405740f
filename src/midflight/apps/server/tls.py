"""TLS contexts for listeners: TLS 1.2 and later, forward secrecy, strong files or none.

Every problem of the files is found before anything listens. Client certificates are only verified
here; what they prove is `services/identity.py`'s to say.
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from midflight.domain.errors import Misconfigured

_MIN_RSA_BITS = 2_048
_MIN_EC_BITS = 256
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)
# TLS 1.2 with forward secrecy and authenticated encryption only (RFC 9325 §4.2); TLS 1.3 has no
# other suites.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(
    certificate: Path,
    key: Path,
    *,
    now: float,
    client_ca: Path | None = None,
    client_svids: bool = False,
) -> ssl.SSLContext:
    """A context for a listener.

    Args:
        certificate: PEM, the server's certificate first, then intermediate ones.
        key: PEM, not encrypted, readable by its owner alone.
        now: Unix seconds, for the certificate's validity.
        client_ca: PEM with authorities; with it, clients must show a certificate of theirs.
        client_svids: clients may show a certificate, which must be of an authority that `trust`
            has added; what it proves is for the bundle in force to say.

    Raises:
        Misconfigured: files that are missing, weak, expired, do not match, or are readable by
            others; every problem at once.
    """
    at = dt.datetime.fromtimestamp(now, tz=dt.UTC)
    problems = [
        *_certificate_problems(certificate, at),
        *_key_problems(key),
        *(() if client_ca is None else _authority_problems(client_ca, at)),
    ]
    if problems:
        raise _refused(problems)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        # An encrypted key would make OpenSSL ask on the terminal; the empty answer refuses it.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as problem:
        raise _refused([f"{key} is not the key of {certificate}"]) from problem
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    elif client_svids:
        context.verify_mode = ssl.CERT_OPTIONAL
        # A bundle may name intermediate authorities as anchors (X509-SVID §5.1).
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if context.verify_mode is not ssl.CERT_NONE:
        _never_resume(context)
    return context


def svid_context() -> ssl.SSLContext:
    """A context for a gRPC endpoint where both ends show X509-SVIDs, none of them loaded yet.

    Whom it lets through is added by `trust`, and what it shows is set by `show`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2"])
    _never_resume(context)
    return context


def show(context: ssl.SSLContext, chain: Sequence[bytes], key: bytes) -> None:
    """Show this SVID (DER, the leaf first; PKCS#8 DER) from the next handshake on.

    OpenSSL reads files only, so they are in memory (memfd_create(2)) and in no file system.
    """
    handle = os.memfd_create("midflight", os.MFD_CLOEXEC)
    try:
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(pem_of(chain, key))
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.ftruncate(handle, 0)
        os.close(handle)


def pem_of(chain: Sequence[bytes], key: bytes) -> bytes:
    """A chain (DER, the leaf first) and its key (PKCS#8 DER) as OpenSSL reads them: a secret."""
    certificates = "".join(ssl.DER_cert_to_PEM_cert(der) for der in chain)
    private = serialization.load_der_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificates.encode("ascii") + private


def trust(context: ssl.SSLContext, authorities: Iterable[bytes]) -> None:
    """Let clients of these authorities (DER) through the handshake, from the next one on.

    OpenSSL can add to what it trusts and not take away. So this alone must not mean that a client
    is believed: what is no longer in the bundle is refused by whoever reads its certificate.
    """
    for authority in authorities:
        context.load_verify_locations(cadata=authority)


def _never_resume(context: ssl.SSLContext) -> None:
    """A resumed session would bring a client back without its certificate being looked at.

    Without tickets TLS 1.3 has none to resume. TLS 1.2 has them by id, too, which OpenSSL keeps and
    Python cannot turn off: they end in an alert, upon which both ends forget the session (RFC 5246
    §7.2.2) and the client begins anew.
    """
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0

    def begun(
        connection: ssl.SSLObject | ssl.SSLSocket, _name: str, _: ssl.SSLContext
    ) -> int | None:
        # Called in every handshake, whether a name is asked for or not.
        return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE if connection.session_reused else None

    context.sni_callback = begun


def _refused(problems: list[str]) -> Misconfigured:
    return Misconfigured(
        "TLS cannot be used as configured.",
        problems,
        hint="Use an ECDSA P-256 or RSA 2048 key (chmod 600) and a certificate made for it.",
    )


def _certificate_problems(place: Path, at: dt.datetime) -> list[str]:
    chain, problems = _load(place)
    if chain:
        problems += _validity_problems(place, chain[0], at)
    for certificate in chain:
        problems += _strength_problems(place, certificate)
    return problems


def _authority_problems(place: Path, at: dt.datetime) -> list[str]:
    authorities, problems = _load(place)
    for authority in authorities:
        problems += _validity_problems(place, authority, at)
        problems += _strength_problems(place, authority)
        try:
            basic = authority.extensions.get_extension_for_class(x509.BasicConstraints)
            is_authority = basic.value.ca
        except x509.ExtensionNotFound:
            is_authority = False
        if not is_authority:
            problems.append(f"{place} holds a certificate that is no authority")
    return problems


def _load(place: Path) -> tuple[list[x509.Certificate], list[str]]:
    try:
        return x509.load_pem_x509_certificates(place.read_bytes()), []
    except OSError as problem:
        return [], [f"{place} cannot be read: {os.strerror(problem.errno or 0)}"]
    except ValueError:
        return [], [f"{place} holds no PEM certificate"]


def _validity_problems(place: Path, certificate: x509.Certificate, at: dt.datetime) -> list[str]:
    if at >= certificate.not_valid_after_utc:
        return [f"{place} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"]
    if at < certificate.not_valid_before_utc:
        return [f"{place} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"]
    return []


def _strength_problems(place: Path, certificate: x509.Certificate) -> list[str]:
    problems: list[str] = []
    try:
        weak_hash = isinstance(certificate.signature_hash_algorithm, _WEAK_HASHES)
    except UnsupportedAlgorithm:
        weak_hash = True
    # Nobody verifies the signature that a root has on itself.
    if weak_hash and certificate.issuer != certificate.subject:
        problems.append(f"{place} is signed with a broken hash function")
    try:
        problem = _weakness(certificate.public_key())
    except (UnsupportedAlgorithm, ValueError):
        problem = "has a key of an unknown kind"
    return [*problems, f"{place} {problem}"] if problem else problems


def _key_problems(place: Path) -> list[str]:
    problems: list[str] = []
    try:
        mode = place.stat().st_mode
        text = place.read_bytes()
    except OSError as problem:
        return [f"{place} cannot be read: {os.strerror(problem.errno or 0)}"]
    if stat.S_IMODE(mode) & 0o077:
        problems.append(f"{place} can be read by others: chmod 600 {place}")
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except TypeError:
        return [
            *problems,
            f"{place} is encrypted; give a key that is not, or a secret store's file",
        ]
    except (ValueError, UnsupportedAlgorithm):
        return [*problems, f"{place} holds no PEM private key"]
    problem = _weakness(key.public_key())
    return [*problems, f"{place} {problem}"] if problem else problems


def _weakness(key: object) -> str:
    """What is wrong with a public key, or an empty string."""
    match key:
        case rsa.RSAPublicKey() if key.key_size < _MIN_RSA_BITS:
            return f"has an RSA key of {key.key_size} bits; {_MIN_RSA_BITS} are needed"
        case ec.EllipticCurvePublicKey() if key.curve.key_size < _MIN_EC_BITS:
            return f"has a key on {key.curve.name}; {_MIN_EC_BITS} bits are needed"
        case dsa.DSAPublicKey():
            return "has a DSA key, which TLS does not use"
        case (
            rsa.RSAPublicKey()
            | ec.EllipticCurvePublicKey()
            | ed25519.Ed25519PublicKey()
            | ed448.Ed448PublicKey()
        ):
            return ""
        case _:
            return "has a key of a kind that TLS does not use"


__all__ = ["pem_of", "server_context", "show", "svid_context", "trust"]
