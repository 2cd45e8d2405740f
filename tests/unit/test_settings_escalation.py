"""`[channels]`, `[contacts]`, `[hooks]`: what is refused, and that secrets are references."""

from __future__ import annotations

from pathlib import Path

import pytest

from midflight.apps.compose_escalation import answering, channels_of, contacts_of
from midflight.apps.settings import load
from midflight.domain.errors import Misconfigured
from midflight.services.ports.notify import NotDelivered
from midflight.testing import FakeClock

CHAT = '[channels.chat]\nkind = "slack"\nurl = "file:url"\n'
MAIL = (
    '[channels.mail]\nkind = "email"\nhost = "smtp.example.org"\nsender = "m@example.org"\n'
    'recipients = ["a@example.org"]\n'
)
PAGE = '[channels.page]\nkind = "pagerduty"\nkey = "env:K"\n'
HOOK = '[hooks.chat]\nkind = "slack"\nsecret = "env:S"\nteam = "T1"\n'


def problems(folder: Path, text: str) -> str:
    file = folder / "midflight.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Misconfigured) as caught:
        load(file)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[contacts.ann]\nchannels = ["chat"]\n', "there is no channel chat"),
        ('[contacts.ann]\nnext = "bob"\n', "there is no contact bob"),
        ('[escalation]\ndefault = "bob"\n', "there is no contact bob"),
        (HOOK, "there is no channel of this name"),
        (MAIL + HOOK.replace("chat", "mail"), "the channel is of kind email"),
        (CHAT + HOOK.replace('team = "T1"\n', ""), "team belongs to kind slack"),
        (CHAT + HOOK + 'previous_secret = "env:B"\n', "previous_secret belongs to kind webhook"),
        (CHAT + HOOK.replace("env:S", "s3cret"), "write env:NAME or file:PATH"),
        (CHAT.replace("file:url", "https://hooks.example.org/s3cret"), "write env:NAME"),
        (CHAT.replace("channels.chat", 'channels."Chat!"'), "lower-case"),
        (MAIL + 'username = "m"\n', "needs username and password"),
        (MAIL + 'tls = "none"\n', "for a server on this machine"),
        (MAIL.replace("a@example.org", "a@example.org\\nBcc: x@y.org"), "is not an e-mail address"),
        (MAIL.replace("a@example.org", "Ann <a@example.org>"), "is not an e-mail address"),
        (MAIL.replace("smtp.example.org", "smtp example\\n"), "is not the name of a host"),
        (
            '[channels.page]\nkind = "pagerduty"\nkey = "env:K"\nurl = "http://p.example.org"\n',
            "is http and not loopback",
        ),
        (
            PAGE + '[hooks.page]\nkind = "pagerduty"\nsecret = "env:S"\nmay_answer = true\n',
            "does not answer approvals",
        ),
        ("[break_glass]\nmax = '8d'\n", "break_glass.max"),
        ('[channels.x]\nkind = "carrier-pigeon"\n', "channels.x"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(tmp_path, text)
    assert problem in found
    assert "s3cret" not in found


def test_what_a_channel_may_do_is_as_little_as_is_said(tmp_path: Path) -> None:
    file = tmp_path / "midflight.toml"
    file.write_text(CHAT + MAIL + HOOK, encoding="utf-8")
    settings = load(file)
    chat, mail = answering(settings, "chat"), answering(settings, "mail")
    assert (chat.may_acknowledge, chat.may_answer, chat.arguments) == (True, False, False)
    assert (mail.may_acknowledge, mail.may_answer, mail.arguments) == (False, False, False)
    assert contacts_of(settings) == {}


@pytest.mark.anyio
async def test_a_secret_that_is_missing_is_a_message_that_did_not_arrive(tmp_path: Path) -> None:
    from notify_kit import message  # noqa: PLC0415

    file = tmp_path / "midflight.toml"
    file.write_text(CHAT, encoding="utf-8")
    channel = channels_of(load(file), clock=FakeClock())["chat"]
    with pytest.raises((Misconfigured, NotDelivered)):
        await channel.tell(message())
