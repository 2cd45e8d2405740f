"""The pages that a person sees on his way: plain HTML that works without scripts.

Everything that a client says of itself is hostile text: it is escaped, cut, and what would turn
writing around or hide in it is made visible. No page loads anything from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape

from midflight.domain.plain import plain

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;"
    "color:#1b1f24;background:#fff}h1{font-size:1.3rem}dt{font-weight:600;margin-top:.6rem}"
    "dd{margin:0;overflow-wrap:anywhere}"
    "button{font:inherit;padding:.5rem 1rem;margin:.5rem .5rem 0 0}"
    "input,textarea{font:inherit;width:100%;box-sizing:border-box;padding:.4rem}"
    ".warn{border:2px solid #8a3b00;padding:.6rem}label{display:block;margin-top:1rem}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
MAX_SHOWN = 300


def policy(targets: Sequence[str] = ()) -> str:
    """The Content-Security-Policy of a page whose forms may lead to `targets` besides itself."""
    actions = " ".join(["'self'", *targets])
    return (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {actions}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def visible(text: str) -> str:
    """Text of others for a page: escaped, bounded, with what is invisible spelled out."""
    return escape(plain(text, MAX_SHOWN), quote=True)


def consent(
    *,
    client: str,
    client_id: str,
    host: str,
    workload: str,
    scopes: Sequence[str],
    person: str,
    ticket: str,
    action: str,
) -> str:
    """The question whether a client may act."""
    items = "".join(f"<li><code>{visible(scope)}</code></li>" for scope in scopes)
    return _page(
        "Let this client act?",
        "<p>A program that calls itself "
        f"<strong>{visible(client)}</strong> asks to use tools through Midflight.</p>"
        "<dl>"
        f"<dt>Its id</dt><dd><code>{visible(client_id)}</code></dd>"
        f"<dt>The answer goes to</dt><dd><strong>{visible(host)}</strong></dd>"
        f"<dt>It will act as</dt><dd><code>{visible(workload)}</code></dd>"
        f"<dt>You are</dt><dd>{visible(person)}</dd>"
        f"<dt>It asks for</dt><dd><ul>{items}</ul></dd></dl>"
        "<p>Agree only if you have just started this yourself. Policy decides each of its actions, "
        "and you can stop it at any time.</p>"
        f'<form method="post" action="{escape(action, quote=True)}">'
        f"{_hidden({'ticket': ticket})}"
        '<label for="intent">What is it to do? (optional; its own words never count)</label>'
        '<textarea id="intent" name="intent" rows="3" maxlength="4000"></textarea>'
        '<button name="decision" value="allow">Agree</button>'
        '<button name="decision" value="deny">Refuse</button></form>',
    )


def login_code(*, ticket: str, action: str, problem: str = "") -> str:
    """The development login."""
    told = f'<p class="warn" role="alert">{visible(problem)}</p>' if problem else ""
    return _page(
        "Development login",
        '<p class="warn"><strong>For development on this machine.</strong> No identity provider is '
        "configured; whoever can print a code is let in.</p>"
        f"{told}<p>Print a code with <code>midflight client login-code</code> and type it here.</p>"
        f'<form method="post" action="{escape(action, quote=True)}">'
        f"{_hidden({'ticket': ticket})}"
        '<label for="code">Code</label>'
        '<input id="code" name="code" autocomplete="one-time-code" required maxlength="32">'
        "<button>Log in</button></form>",
    )


def login_provider(*, ticket: str, action: str, issuer: str) -> str:
    """The way to the OpenID provider."""
    return _page(
        "Log in",
        f"<p>You are sent to <strong>{visible(issuer)}</strong> to log in.</p>"
        f'<form method="post" action="{escape(action, quote=True)}">'
        f"{_hidden({'ticket': ticket})}<button>Continue</button></form>",
    )


def again(*, url: str) -> str:
    """One step on our own ground, since strict cookies do not come with a visit from elsewhere."""
    return _page(
        "One moment",
        f'<p><a href="{escape(url, quote=True)}">Continue</a></p>',
        head=f'<meta http-equiv="refresh" content="0;url={escape(url, quote=True)}">',
    )


def problem(*, title: str, text: str) -> str:
    """What went wrong, where nobody can be redirected."""
    return _page(title, f'<p role="alert">{visible(text)}</p><p>You can close this page.</p>')


def _page(title: str, content: str, *, head: str = "") -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{head}<title>{escape(title)} · Midflight</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{content}</main></body></html>"
    )


def _hidden(values: Mapping[str, str]) -> str:
    return "".join(
        f'<input type="hidden" name="{escape(name, quote=True)}" '
        f'value="{escape(value, quote=True)}">'
        for name, value in values.items()
    )


__all__ = [
    "again",
    "consent",
    "login_code",
    "login_provider",
    "policy",
    "problem",
    "visible",
]
