"""People at the app whose browsers cost nothing: they speak Streamlit's protocol, and receive the
image and heatmaps that a browser would show, but draw nothing. They wait for the server alone.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import requests
from google.protobuf.message import Message
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from cxrlib.plots import VERDICTS

_PATIENCE = 120  # seconds
_XSRF = "_streamlit_xsrf"
_MARKS = {mark for mark, _ in VERDICTS.values()}


@dataclass
class BareVisitor:
    """One open page.

    Attributes:
        texts: all Markdown and headings that the page has shown since the last drop.
        viewed: what its viewer was sent last.
    """

    url: str
    web: requests.Session
    socket: ClientConnection
    session: str = ""
    uploader: str = ""
    state: ClientState = field(default_factory=ClientState)
    texts: list[str] = field(default_factory=list)
    viewed: dict[str, Any] = field(default_factory=dict)

    async def drop(self, name: str, data: bytes) -> float:
        """Put a file on the page; seconds until verdict and heatmaps are here."""
        began = time.perf_counter()
        await self.put(name, data)
        self.texts.clear()
        await self._rerun()
        while not self._complete(name):
            await self._until("script_finished")
        return time.perf_counter() - began

    async def put(self, name: str, data: bytes) -> None:
        """Send a file to the server; the page is told of it with the next rerun."""
        asked = BackMsg()
        asked.file_urls_request.request_id = name
        asked.file_urls_request.file_names.append(name)
        asked.file_urls_request.session_id = self.session
        await self.socket.send(asked.SerializeToString())
        (urls,) = (await self._until("file_urls_response")).file_urls
        await asyncio.to_thread(self._put, urls.upload_url, name, data)
        widget = self.state.widget_states.widgets.add(id=self.uploader)
        widget.file_uploader_state_value.uploaded_file_info.add(
            file_id=urls.file_id, name=name, size=len(data), file_urls=urls
        )

    def shown(self) -> tuple[str, str, str]:
        """The verdict with the probability, the image's description, and the page's text."""
        verdict = next(text for text in self.texts if text[0] in _MARKS)
        description = next(text for text in self.texts if text.startswith("JPEG, "))
        return verdict, description, "\n".join(self.texts)

    def _complete(self, name: str) -> bool:
        told = any("How far to trust this" in text for text in self.texts)
        return told and self.viewed["title"].endswith(name) and bool(self.viewed["overlays"])

    def _put(self, address: str, name: str, data: bytes) -> None:
        token = {"X-Xsrftoken": self.web.cookies.get(_XSRF, "")}
        place = urljoin(self.url, address)
        sent = self.web.put(
            place, files={"file": (name, data, "image/jpeg")}, headers=token, timeout=_PATIENCE
        )
        sent.raise_for_status()

    async def _rerun(self) -> None:
        message = BackMsg()
        message.rerun_script.CopyFrom(self.state)
        await self.socket.send(message.SerializeToString())

    async def _until(self, wanted: str) -> Message:
        """The next message of a kind; what comes before it is noted."""
        while True:
            message = ForwardMsg()
            message.ParseFromString(await asyncio.wait_for(self.socket.recv(), _PATIENCE))
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self.session = message.new_session.initialize.session_id or self.session
                self.state.page_script_hash = message.new_session.page_script_hash
            elif kind == "delta":
                self._note(message.delta.new_element)
            if kind == wanted:
                return getattr(message, kind)

    def _note(self, element: Message) -> None:
        match element.WhichOneof("type"):
            case "file_uploader":
                self.uploader = element.file_uploader.id
            case "markdown":
                self.texts.append(element.markdown.body)
            case "heading":
                self.texts.append(element.heading.body)
            case "bidi_component":
                data = json.loads(element.bidi_component.json)
                if "image_id" in data:
                    self.viewed = data


@asynccontextmanager
async def bare_visitor(url: str) -> AsyncIterator[BareVisitor]:
    """A person who has the page open and nothing on it."""
    with requests.Session() as web:
        # The server closes connections that are idle for some seconds. A browser that was about to
        # use one asks again on another; this does not keep them.
        web.headers["Connection"] = "close"
        # Sets the token that uploads must carry.
        web.get(f"{url}/_stcore/health", timeout=_PATIENCE).raise_for_status()
        stream = url.replace("http", "ws", 1) + "/_stcore/stream"
        cookie = "; ".join(f"{name}={value}" for name, value in web.cookies.items())
        async with connect(
            stream,
            subprotocols=["streamlit"],
            max_size=None,
            additional_headers={"Cookie": cookie} if cookie else {},
        ) as socket:
            visitor = BareVisitor(url, web, socket)
            await visitor._rerun()
            await visitor._until("script_finished")
            yield visitor
