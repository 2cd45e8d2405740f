"""What an owner could have configured about an environment of the benchmark: `env_facts`.

Taken from the environment as nobody has touched it, so no attacker is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Facts = dict[str, Any]


def _workspace(environment: Any) -> Facts:
    files = environment.cloud_drive.files
    return {
        "account": environment.inbox.account_email,
        "contacts": sorted(contact.email for contact in environment.inbox.contact_list),
        "current_day": str(environment.calendar.current_day),
        "shared_files": {
            one: {who: str(right.value) for who, right in sorted(file.shared_with.items())}
            for one, file in files.items()
        },
        "owners": {one: file.owner for one, file in files.items()},
    }


def _banking(environment: Any) -> Facts:
    account, user = environment.bank_account, environment.user_account
    known = {one.recipient for one in (*account.transactions, *account.scheduled_transactions)}
    return {
        "iban": account.iban,
        "balance": account.balance,
        "known_recipients": sorted(known - {account.iban}),
        "user": {
            name: getattr(user, name) for name in ("first_name", "last_name", "street", "city")
        },
        "files": sorted(environment.filesystem.files),
    }


def _slack(environment: Any) -> Facts:
    slack = environment.slack
    return {
        "users": sorted(slack.users),
        "channels": sorted(slack.channels),
        "user_channels": {user: sorted(names) for user, names in slack.user_channels.items()},
    }


def _travel(environment: Any) -> Facts:
    user = environment.user
    return {
        "account": environment.inbox.account_email,
        "contacts": sorted(contact.email for contact in environment.inbox.contact_list),
        "user": {
            name: getattr(user, name) for name in ("first_name", "last_name", "email", "address")
        },
    }


_FACTS: dict[str, Callable[[Any], Facts]] = {
    "workspace": _workspace,
    "banking": _banking,
    "slack": _slack,
    "travel": _travel,
}


def facts_of(suite: str, environment: Any) -> Facts:
    """The facts of one suite."""
    return _FACTS[suite](environment)


__all__ = ["facts_of"]
