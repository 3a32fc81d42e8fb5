"""What the person at this page may do: the server's switch, and roles where people log in.

Without ``[auth]`` in Streamlit's secrets everybody may review, and train and delete where
`jobs.allowed` says so: by default whoever sits at the machine, and nobody from elsewhere. With it
nobody may anything of that before logging in (OpenID Connect, `streamlit.login`), and then what
``[roles]`` grants: for each role a list of e-mail addresses, or of values of the claim that
``claim`` names, such as ``groups``. An address counts where the provider sends ``email_verified``,
or ``trust_email = true`` says that it never sends a false one.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

import streamlit as st

Role = Literal["train", "delete", "review"]


SWITCHED_OFF = (
    "Training, deleting, downloading and opening folders are locked on this server. To use them, "
    "install the project on your own computer. The person who runs the server can unlock them with "
    "`CXR_TRAINING=on`, or for people who log in (`[auth]` and `[roles]` in its secrets)."
)
_FORWARDED = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via")


def allowed(role: Role = "train") -> bool:
    """Whether this person may ``train`` (download and open folders too), ``delete`` or ``review``.

    ``delete`` reaches runs and everybody's readings.
    """
    return not why_not(role)


def why_not(role: Role) -> str:
    """Why this person may not, and what to do about it; empty where they may."""
    from cxrlib.training import jobs  # takes pandas along, which the first page does not wait for

    secrets = _secrets()
    if role != "review" and not jobs.allowed(secrets, local=local_visitor()):
        return SWITCHED_OFF
    if "auth" not in secrets:
        return ""
    if not st.user.is_logged_in:
        return "Log in first, with the button in the sidebar."
    if granted(st.user.to_dict(), role, secrets.get("roles", {})):
        return ""
    return (
        f"Your account may not {role} on this server. Ask the person who runs it to add you to "
        f"`{role}` under `[roles]` in its secrets."
    )


def local_visitor() -> bool:
    """Whether the browser runs on this machine."""
    return from_this_machine(st.context.ip_address, st.context.headers)


def from_this_machine(address: str | None, headers: Mapping[str, str]) -> bool:
    """Whether a connection comes from a browser on this machine, not through a proxy.

    Args:
        address: of the other end; None is this machine, as in `streamlit.context`.
        headers: of the request that opened it.
    """
    if address is not None and not _is_loopback(address):
        return False
    sent = {name.casefold(): value for name, value in headers.items()}
    if any(name.casefold() in sent for name in _FORWARDED):
        return False
    # A proxy that says nothing of itself still shows in what the browser asked for; so does a
    # foreign page whose host name was pointed at this machine.
    asked = [f"//{sent.get('host', 'localhost')}", sent.get("origin", "//localhost")]
    return all(_is_loopback(urlsplit(url).hostname) for url in asked)


def _is_loopback(host: str | None) -> bool:
    try:
        address = ip_address(host or "")
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def granted(claims: Mapping[str, Any], role: Role, roles: Mapping[str, Any]) -> bool:
    """Whether an identity's claims have a role by the secrets' table ``[roles]``."""
    if "claim" in roles:
        held = claims.get(roles["claim"], [])
        found = {held} if isinstance(held, str) else set(held)
        return not found.isdisjoint(roles.get(role, []))
    # Where the provider does not say that an address is verified, anybody may have typed it.
    verified = claims.get("email_verified") is True or roles.get("trust_email") is True
    if not claims.get("email") or not verified:
        return False
    return claims["email"].casefold() in {address.casefold() for address in roles.get(role, [])}


def show_account() -> None:
    """Who is logged in, and the button that logs in or out; nothing where there is no login."""
    if "auth" not in _secrets():
        return
    if st.user.is_logged_in:
        st.caption(f"Logged in as {st.user.get('email') or st.user.get('name', 'somebody')}")
        st.button("Log out", icon=":material/logout:", on_click=st.logout, width="stretch")
    else:
        st.button("Log in", icon=":material/login:", on_click=st.login, width="stretch")


def _secrets() -> dict[str, Any]:
    try:
        return st.secrets.to_dict()
    except FileNotFoundError:
        return {}
