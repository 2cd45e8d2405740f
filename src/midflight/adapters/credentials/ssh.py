"""Leases for SSH: a fresh key and a user certificate of Midflight's own CA (OpenSSH format).

Servers that trust the CA (`TrustedUserCAKeys`) accept it as any of the lease's principals until the
lease ends. Nothing is asked of them, so nothing takes a certificate back: it is short-lived. Where
servers read a revocation list (`RevokedKeys`), `krl` names the file that Midflight keeps for them,
made by `ssh-keygen`; a server looks at it at login, so open sessions stay.

The serial is derived from the lease's name, so a certificate can be revoked by it after a crash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_private_key,
)

from midflight.adapters.credentials.reading import Reading, require_narrowing
from midflight.adapters.credentials.ssh_krl import RevocationList
from midflight.domain.errors import Conflict, Misconfigured
from midflight.domain.lease import Credential, Lease, Revocability, Secret
from midflight.domain.value import Value
from midflight.services.ports.clock import Clock
from midflight.services.ports.credential_backend import Issued
from midflight.services.ports.secret_reader import SecretReader

PRINCIPAL = r"[A-Za-z0-9_.@-]{1,64}"
BACKDATED_S = 60
"""How much earlier than now a certificate begins, for servers whose clocks are behind."""

EXTENSIONS = frozenset({
    "permit-pty", "permit-port-forwarding", "permit-agent-forwarding", "permit-X11-forwarding",
    "permit-user-rc",
})  # fmt: skip

_CA = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class SshSettings(Value):
    """What `Credential.settings` says of a CA for users.

    Attributes:
        ca_key: reference to the CA's private key, in OpenSSH format and without a passphrase.
        force_command: the one command that a session may run, or empty.
        source_address: networks that a client must connect from, or empty for any.
        extensions: what a session may do besides; nothing by default.
        krl: path of the revocation list that is kept, or empty.
    """

    ca_key: str
    force_command: str = ""
    source_address: str = ""
    extensions: tuple[str, ...] = ()
    krl: str = ""


def read_ssh(credential: Credential) -> SshSettings:
    """The settings, or `Misconfigured` with every problem."""
    with Reading.of(credential) as reading:
        settings = SshSettings(
            ca_key=reading.reference("ca_key"),
            force_command=reading.text("force_command", default="", form=r"[\x20-\x7e]{1,1024}"),
            source_address=reading.text("source_address", default="", form=r"[0-9a-fA-F.:/,]+"),
            extensions=reading.texts("extensions"),
            krl=reading.text("krl", default=""),
        )
        unknown = set(settings.extensions) - EXTENSIONS
        if unknown:
            reading.problem("extensions", f"are others than {', '.join(sorted(EXTENSIONS))}")
        reading.scopes(credential, form=PRINCIPAL, like="deploy, a principal")
    return settings


class SshBackend:
    """`CredentialBackend` over one CA."""

    def __init__(self, credential: Credential, *, references: SecretReader, clock: Clock) -> None:
        """`Misconfigured` with every problem of the settings."""
        self._credential, self._references, self._clock = credential, references, clock
        self._settings = read_ssh(credential)
        krl = self._settings.krl
        self._revoked = RevocationList(krl, clock=clock) if krl else None

    @property
    def revocability(self) -> Revocability:
        """At its end: a revocation list ends no session, and servers need not read one."""
        return Revocability.AT_EXPIRY

    @property
    def fields(self) -> frozenset[str] | None:
        """A private key and its certificate."""
        return frozenset({"private_key", "certificate"})

    async def check(self) -> str:
        """Read the CA's key, and the revocation list if there is one."""
        await self._ca()
        if self._revoked is None:
            return "The CA's key can sign; certificates end by expiry alone."
        await self._revoked.check()
        return "The CA's key can sign, and the revocation list can be written."

    async def issue(self, lease: Lease) -> Issued:
        """A fresh Ed25519 key and its certificate, until the lease ends."""
        require_narrowing(self._credential, lease, some=True)
        ca, settings, now = await self._ca(), self._settings, int(self._clock.now())
        if lease.expires_at <= now:
            raise Conflict(f"{lease.id} has ended already.")
        key = ed25519.Ed25519PrivateKey.generate()
        builder = (
            SSHCertificateBuilder()
            .public_key(key.public_key())
            .serial(serial_of(lease.external))
            .type(SSHCertificateType.USER)
            .key_id(lease.external.encode("ascii"))
            .valid_principals([scope.encode("ascii") for scope in sorted(set(lease.scopes))])
            .valid_after(now - BACKDATED_S)
            .valid_before(lease.expires_at)
        )
        if settings.force_command:
            builder = builder.add_critical_option(b"force-command", settings.force_command.encode())
        if settings.source_address:
            builder = builder.add_critical_option(
                b"source-address", settings.source_address.encode("ascii")
            )
        for extension in sorted(set(settings.extensions)):
            builder = builder.add_extension(extension.encode("ascii"), b"")
        certificate = builder.sign(ca).public_bytes().decode("ascii")
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        fields = {"private_key": private.decode("ascii"), "certificate": certificate}
        return Issued(secret=Secret(fields=fields, expires_at=lease.expires_at))

    async def renew(self, lease: Lease, *, expires_at: int) -> int:
        """`Conflict`: a certificate is what it is."""
        raise Conflict(
            f"A certificate is not renewed, so {lease.id} cannot last until {expires_at}.",
            hint="Ask for a new lease.",
        )

    async def revoke(self, lease: Lease) -> int | None:
        """Put it on the revocation list, if there is one; servers that do not look take it on."""
        if self._revoked is None or lease.expires_at < self._clock.now():
            return lease.expires_at
        public = (
            (await self._ca()).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        )
        await self._revoked.add(serial_of(lease.external), until=lease.expires_at, ca=public)
        return lease.expires_at

    async def names(self) -> Sequence[str]:
        """Empty: nobody lists certificates."""
        return ()

    async def discard(self, name: str) -> None:
        """Nothing to do, since nothing is listed."""

    async def close(self) -> None:
        """Nothing is open."""

    async def _ca(self) -> _CA:
        reference = self._settings.ca_key
        text = await self._references.read(reference)
        try:
            # The reader wants the line break that a reference has lost.
            key = load_ssh_private_key(text.strip().encode("utf-8") + b"\n", password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, _CA) or (
            isinstance(key, rsa.RSAPrivateKey) and key.key_size < 3_072
        ):
            raise Misconfigured(
                f"{reference} is not a private key that can sign certificates.",
                hint="Make one with `ssh-keygen -t ed25519 -N ''`.",
            )
        return key


def serial_of(external: str) -> int:
    """The serial of a lease's certificate: 63 bits of a digest of its name, never 0."""
    return int.from_bytes(hashlib.sha256(external.encode("ascii")).digest()[:8], "big") >> 1 or 1


__all__ = ["EXTENSIONS", "SshBackend", "SshSettings", "read_ssh", "serial_of"]
