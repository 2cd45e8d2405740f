"""The SSH backend, read by OpenSSH's own `ssh-keygen`. (No test here starts an `sshd`.)"""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from pathlib import Path

import pytest
from credential_kit import MARKER, Secrets, credential, lease

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.ssh import SshBackend, serial_of
from midflight.domain.errors import Conflict, Forbidden, Misconfigured, Unavailable
from midflight.domain.lease import Lease, Revocability
from midflight.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

KEYGEN = shutil.which("ssh-keygen") or "ssh-keygen"


def run(*arguments: str | Path, status: int = 0) -> str:
    done = subprocess.run(
        [KEYGEN, *map(str, arguments)], check=False, capture_output=True, text=True
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    run("-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "ca")
    return Secrets({"file:ca": (tmp_path / "ca").read_text().strip()})


def backend(secrets: Secrets, **more: object) -> SshBackend:
    source = credential("ssh", {"ca_key": "file:ca", **more}, scopes=("deploy", "read"))
    return SshBackend(source, references=secrets, clock=SystemClock())


async def test_openssh_reads_a_certificate_of_the_lease_and_no_more(
    secrets: Secrets, tmp_path: Path
) -> None:
    one = backend(
        secrets, force_command="/bin/report --all", source_address="10.0.0.0/8,192.0.2.7/32"
    )
    assert "by expiry alone" in await one.check()
    asked = lease(scopes=("deploy",))
    issued = await one.issue(asked)
    (tmp_path / "key").write_text(issued.secret.fields["private_key"])
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "key-cert.pub").write_text(issued.secret.fields["certificate"] + "\n")
    # ca, lines of what OpenSSH says
    said = [line.strip() for line in run("-L", "-f", tmp_path / "key-cert.pub").splitlines()]
    text = "\n".join(said)
    assert "Type: ssh-ed25519-cert-v01@openssh.com user certificate" in said
    assert f'Key ID: "{asked.external}"' in said
    assert f"Serial: {serial_of(asked.external)}" in said
    assert said[said.index("Principals:") + 1] == "deploy"
    assert said[said.index("Principals:") + 2] == "Critical Options:"
    assert "force-command /bin/report --all" in said
    assert "source-address 10.0.0.0/8,192.0.2.7/32" in said
    assert "Extensions: (none)" in said
    ends = dt.datetime.fromtimestamp(asked.expires_at).strftime("%Y-%m-%dT%H:%M:%S")  # noqa: DTZ006 -- ssh-keygen prints local time
    assert f"to {ends}" in text
    # It is signed by the CA, and is of the key that goes with it.
    authority = run("-l", "-f", tmp_path / "ca.pub").split()[1]
    assert authority in text
    public = run("-y", "-f", tmp_path / "key").split()[:2]
    (tmp_path / "pub").write_text(" ".join(public))
    assert run("-l", "-f", tmp_path / "pub").split()[1] in text
    assert issued.secret.fields["private_key"][40:80] not in repr(issued) + issued.handle


async def test_a_revoked_certificate_is_on_the_list_and_others_are_not(
    secrets: Secrets, tmp_path: Path
) -> None:
    krl = tmp_path / "krl"
    one = backend(secrets, krl=str(krl))
    assert "can be written" in await one.check()
    gone, kept, later = (lease(scopes=("read",)) for _ in range(3))
    for name, wanted in (("gone", gone), ("kept", kept), ("later", later)):
        issued = await one.issue(wanted)
        (tmp_path / f"{name}-cert.pub").write_text(issued.secret.fields["certificate"])
    await one.revoke(gone)
    await one.revoke(gone)
    # After a restart the list is continued, not begun anew.
    await backend(secrets, krl=str(krl)).revoke(later)
    assert "REVOKED" in run("-Q", "-f", krl, tmp_path / "gone-cert.pub", status=1)
    assert "REVOKED" in run("-Q", "-f", krl, tmp_path / "later-cert.pub", status=1)
    assert "ok" in run("-Q", "-f", krl, tmp_path / "kept-cert.pub")
    assert sorted(path.name for path in tmp_path.glob("krl*")) == ["krl", "krl.entries"]
    (tmp_path / "krl.entries").write_text("nonsense\n")
    with pytest.raises(Unavailable, match="no entries"):
        await one.revoke(kept)
    assert "REVOKED" in run("-Q", "-f", krl, tmp_path / "gone-cert.pub", status=1)


async def test_what_has_ended_leaves_the_list(secrets: Secrets, tmp_path: Path) -> None:
    clock = FakeClock()
    source = credential(
        "ssh", {"ca_key": "file:ca", "krl": str(tmp_path / "krl")}, scopes=("read",)
    )
    one = SshBackend(source, references=secrets, clock=clock)

    def wanted() -> Lease:
        return lease(scopes=("read",), created_at=int(clock.now()))

    first = wanted()
    await one.revoke(first)
    clock.advance(301)
    second = wanted()
    await one.revoke(second)
    await one.revoke(first)  # ended: nothing to say
    kept = (tmp_path / "krl.entries").read_text().split()
    assert kept == [str(serial_of(second.external)), str(second.expires_at)]


async def test_scopes_and_keys_that_do_not_fit_are_refused(secrets: Secrets) -> None:
    one = backend(secrets)
    for scopes in (("root",), ("deploy", "root"), ()):
        with pytest.raises(Forbidden):
            await one.issue(lease(scopes=scopes))
    with pytest.raises(Conflict):
        await one.renew(lease(scopes=("read",)), expires_at=1)
    await one.revoke(lease())
    assert one.revocability is Revocability.AT_EXPIRY
    secrets.table["file:ca"] = MARKER
    with pytest.raises(Misconfigured) as refused:
        await one.issue(lease(scopes=("read",)))
    assert MARKER not in f"{refused.value} {refused.value.__context__}" + repr(vars(one))
    source = credential(
        "ssh", {"ca_key": MARKER, "extensions": ["fly"], "force_command": "a\nb"}, scopes=("a b",)
    )
    with pytest.raises(Misconfigured) as refused:
        SshBackend(source, references=secrets, clock=SystemClock())
    for words in ("ca_key", "extensions", "force_command", "'a b'"):
        assert words in str(refused.value)
    assert MARKER not in str(refused.value)
