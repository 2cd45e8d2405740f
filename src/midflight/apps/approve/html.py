"""The frame of every page here, and how text of others gets onto it.

Plain HTML that works without scripts. Nothing is loaded from anywhere but the one script of this
server, by its whole address. Text of agents and tools is hostile: it is escaped, bounded, in a box
of its own that keeps its writing direction inside, and what would hide or turn is made visible.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape

from midflight.domain.plain import visible

STYLE = (
    ":root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#8a929b;--warn:#8a3b00;"
    "--box:#f3f4f6;--yes:#0b5d2a;--no:#8f1d1d}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--paper:#16181b;--line:#7d858e;"
    "--warn:#ffb27a;--box:#23272c;--yes:#8fe0ab;--no:#ff9d9d}}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;"
    "color:var(--ink);background:var(--paper)}h1{font-size:1.4rem}h2{font-size:1.1rem;"
    "margin-top:1.8rem}a{color:inherit}dl{display:grid;grid-template-columns:max-content 1fr;"
    "gap:.3rem 1rem}dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:start;vertical-align:top;"
    "padding:.4rem;border-bottom:1px solid var(--line);overflow-wrap:anywhere}"
    ".said{font-family:ui-monospace,monospace;background:var(--box);border:1px solid var(--line);"
    "padding:0 .3rem;unicode-bidi:isolate;overflow-wrap:anywhere;white-space:pre-wrap}"
    ".warn{border:2px solid var(--warn);padding:.6rem}label{display:block;margin-top:1rem;"
    "font-weight:600}input,textarea,select{font:inherit;color:inherit;background:var(--paper);"
    "border:1px solid var(--line);width:100%;box-sizing:border-box;padding:.4rem}"
    "button{font:inherit;font-weight:600;color:inherit;background:var(--box);"
    "border:2px solid var(--line);padding:.6rem 1.2rem;margin:1rem .8rem 0 0;min-height:2.75rem}"
    "button[value=yes]{border-color:var(--yes)}button[value=no]{border-color:var(--no)}"
    ":focus-visible{outline:3px solid var(--warn);outline-offset:2px}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode("ascii")
MAX_SAID = 500
SCRIPT = "/approve/passkey.js"


def policy(script: str, targets: Sequence[str] = ()) -> str:
    """The Content-Security-Policy; `script` is a whole address, `targets` where forms may lead."""
    return (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; script-src {script}; "
        f"form-action {' '.join([chr(39) + 'self' + chr(39), *targets])}; base-uri 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def plain(text: str) -> str:
    """Text of our own, or of an operator, escaped; what is invisible in it is spelled out."""
    return escape(visible(text), quote=True)


def said(text: str, *, limit: int = MAX_SAID) -> str:
    """Text of an agent or a tool, in its box. Cut, and what was cut is counted."""
    cut = len(text) - limit
    shown = visible(text[:limit]) + (f" <<{cut:,} characters left out>>" if cut > 0 else "")
    return f'<bdi class="said">{escape(shown, quote=True)}</bdi>'


def hidden(values: Mapping[str, str]) -> str:
    """Fields that a form carries unseen."""
    return "".join(
        f'<input type="hidden" name="{plain(name)}" value="{escape(value, quote=True)}">'
        for name, value in values.items()
    )


def fields(rows: Sequence[tuple[str, str]]) -> str:
    """A list of names (ours) and what is said of them (HTML)."""
    return (
        "<dl>" + "".join(f"<dt>{plain(name)}</dt><dd>{html}</dd>" for name, html in rows) + "</dl>"
    )


def page(title: str, content: str, *, head: str = "", who: str = "") -> str:
    """A whole page. `title` is ours; `content`, `head` and `who` are HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{head}<title>{plain(title)} · Midflight</title><style>{STYLE}</style>"
        f'<script src="{SCRIPT}" defer></script></head>'
        f"<body>{who}<main><h1>{plain(title)}</h1>{content}</main></body></html>"
    )


def problem(title: str, text: str) -> str:
    """What went wrong."""
    return page(
        title,
        f'<p class="warn" role="alert">{plain(text)}</p>'
        '<p><a href="/approve">What waits for you</a></p>',
    )


def again(url: str) -> str:
    """One step on our own ground, since strict cookies do not come with a visit from elsewhere."""
    return page(
        "One moment",
        f'<p><a href="{escape(url, quote=True)}">Continue</a></p>',
        head=f'<meta http-equiv="refresh" content="0;url={escape(url, quote=True)}">',
    )


__all__ = [
    "MAX_SAID",
    "SCRIPT",
    "again",
    "fields",
    "hidden",
    "page",
    "plain",
    "policy",
    "problem",
    "said",
]
