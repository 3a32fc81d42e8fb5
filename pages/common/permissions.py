"""What visitors of this server may do."""

import streamlit as st

from cxrlib import jobs


def allowed() -> bool:
    """Whether they may train, delete, download, and open folders of this computer."""
    try:
        secrets = st.secrets.to_dict()
    except FileNotFoundError:
        secrets = {}
    return jobs.allowed(secrets)
