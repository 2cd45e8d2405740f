"""The pages before and beside the questions: signing in, and enrolling a factor."""

from __future__ import annotations

from midflight.apps.approve.html import hidden, page, plain
from midflight.domain.approver import Approver
from midflight.services.approver_factors import CodeSecret, Question
from midflight.wire import json


def sign_in(*, question: Question | None, back: str, issuer: str | None, told: str = "") -> str:
    """Ways to sign in. `question` asks for a passkey; `issuer` is the OpenID provider's, if any."""
    outside = ""
    if issuer is not None:
        outside = (
            "<section><h2>At your organisation</h2>"
            f'<form method="post" action="/approve/login">{hidden({"back": back})}'
            f"<p>You are sent to <strong>{plain(issuer)}</strong>.</p>"
            "<button>Continue</button></form></section>"
        )
    passkey = ""
    if question is not None:
        passkey = (
            f'<form method="post" action="/approve/sign-in" hidden{asks_passkey(question)}>'
            f"<h2>With a passkey</h2>{hidden({'back': back, 'ticket': question.ticket})}"
            '<input type="hidden" name="response" value=""><p role="status"></p>'
            "<button>Show a passkey</button></form>"
        )
    return page(
        "Sign in to answer",
        f"{told}{passkey}<section><h2>With a code</h2>"
        f'<form method="post" action="/approve/sign-in">{hidden({"back": back})}'
        '<label for="account">Account</label>'
        '<input id="account" name="account" autocomplete="username" required maxlength="64" '
        'autocapitalize="none" spellcheck="false">'
        f"{code_field()}<button>Sign in</button></form></section>{outside}"
        '<p><a href="/approve/enroll">I was given a code to enrol with</a></p>',
    )


def code_field(*, required: bool = True) -> str:
    """Where a one-time code is typed."""
    return (
        '<label for="code">Code of your authenticator (6 digits)</label>'
        '<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" '
        f'maxlength="10"{" required" if required else ""}>'
    )


def asks_passkey(question: Question, *, make: bool = False) -> str:
    """Attributes of a form that asks for a passkey."""
    options = plain(json.encode(question.options).decode())
    return f' data-passkey="{"create" if make else "get"}" data-options="{options}"'


def enroll(*, told: str = "") -> str:
    """Where the code of an invitation is typed."""
    return page(
        "Enrol",
        f"{told}<p>An operator has given you a code. It is good once, for ten minutes.</p>"
        '<form method="post" action="/approve/enroll"><label for="invitation">Code</label>'
        '<input id="invitation" name="invitation" autocomplete="off" required maxlength="64" '
        'spellcheck="false"><button>Continue</button></form>',
    )


def factors(
    approver: Approver,
    *,
    csrf: str,
    passkey: Question,
    secret: CodeSecret,
    told: str = "",
) -> str:
    """What an account can be given: a passkey, or codes."""
    return page(
        "Enrol a way to sign in",
        f"{told}<p>For the account <strong>{plain(approver.name)}</strong>.</p>"
        '<form method="post" action="/approve/enroll/passkey" hidden'
        f"{asks_passkey(passkey, make=True)}><h2>A passkey</h2>"
        f"{hidden({'csrf': csrf, 'ticket': passkey.ticket})}"
        '<input type="hidden" name="response" value=""><p role="status"></p>'
        "<p>Better than codes: no page but this one can ask for it.</p>"
        "<button>Make a passkey</button></form>"
        "<section><h2>Codes</h2><p>Put this secret into an authenticator, and type the code that "
        f"it shows.</p><p><code>{plain(secret.secret)}</code></p>"
        f'<p><a href="{plain(secret.uri)}">Open in an authenticator on this machine</a></p>'
        f'<form method="post" action="/approve/enroll/code">'
        f"{hidden({'csrf': csrf, 'ticket': secret.ticket})}{code_field()}"
        "<button>Enrol codes</button></form></section>"
        '<p><a href="/approve">Done</a></p>',
    )


__all__ = ["asks_passkey", "code_field", "enroll", "factors", "sign_in"]
