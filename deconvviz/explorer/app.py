"""The explorer's web application: its addresses, and errors as sentences."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from deconvviz.errors import DeconvVizError, ImageFileError, InputError
from deconvviz.explorer.clients import MOST_BYTES, Clients
from deconvviz.explorer.questions import Question, Questions
from deconvviz.explorer.worker import Busy, QueuedWork, Steps, Superseded, Worker
from deconvviz.io.pages import web_files, web_page
from deconvviz.results.base import plain

TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
PAGE_FILE = "explorer/index.html"
UPLOADS = 4  # images that are received at a time
SHARES_EVERY = 0.2  # seconds between two reports of the share that is done

Answer = Callable[[Question], Steps[Any]]


class Application:
    """The application; `asgi` is what a server runs."""

    def __init__(self, questions: Questions, clients: Clients, worker: Worker) -> None:
        self._questions, self._clients, self._worker = questions, clients, worker
        self._files = page_files()
        self._uploads = asyncio.Semaphore(UPLOADS)
        routes = [
            Route("/", self._page),
            Route("/web/{folder}/{name}", self._file),
            Route("/api/images", self._give, methods=["POST"]),
            *(Route(f"/api/{name}", self._asked(answer)) for name, answer in questions.quick.items()),
            *(Route(f"/api/{name}", self._watched(answer)) for name, answer in questions.long.items()),
            *(Route(f"/save/{name}", self._saved(answer)) for name, answer in questions.files.items()),
        ]
        errors: Mapping[Any, Any] = {HTTPException: _not_found, Exception: _failed}
        self.asgi = Starlette(routes=routes, exception_handlers=errors)
        self.asgi.router.redirect_slashes = False

    async def _page(self, request: Request) -> Response:
        return _static(PAGE_FILE, self._files[PAGE_FILE])

    async def _file(self, request: Request) -> Response:
        name = f"{request.path_params['folder']}/{request.path_params['name']}"
        if name not in self._files:
            raise HTTPException(404)
        return _static(name, self._files[name])

    async def _give(self, request: Request) -> Response:
        """An image of the client's own: the body is the file."""
        client, name = request.scope["client_key"], request.query_params.get("name", "image")[:200]
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared[:12]) > MOST_BYTES:
            return _sentence(413, f"the explorer takes images of {MOST_BYTES:,} bytes at most; give a smaller one")
        live = request.query_params.get("live") == "1"
        answers: list[Any] = []
        async with self._uploads:
            try:
                content = await _body(request)
                key = await run_in_threadpool(self._clients.give, client, content, name, live=live)
                if asked := request.query_params.get("ask"):
                    several = self._questions.several(client, key, asked)
                    answers = await _awaited(request, self._job(request, lambda _: several, behind=False))
            except ClientDisconnect:
                return _sentence(408, "the image did not arrive in time")
            except DeconvVizError as error:
                return _refused(error)
            except MemoryError:
                return _sentence(507, "there is not enough memory for this image; give a smaller one")
        return _Json({"image": key, "answers": answers})

    def _asked(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def answered(request: Request) -> Response:
            try:
                job = self._job(request, answer, behind=False)
                return _Json(await _awaited(request, job))
            except DeconvVizError as error:
                return _refused(error)

        return answered

    def _saved(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def saved(request: Request) -> Response:
            try:
                name, content = await _awaited(request, self._job(request, answer, behind=False))
            except DeconvVizError as error:
                return _refused(error)
            headers = {"content-disposition": f'attachment; filename="{name}"'}
            return Response(content, media_type="application/octet-stream", headers=headers)

        return saved

    def _watched(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        """Work that takes long: an answer of lines, with the share that is done and, in the last one, the result."""

        async def watched(request: Request) -> Response:
            try:
                job = self._job(request, answer, behind=True)
            except DeconvVizError as error:
                return _refused(error)
            return StreamingResponse(_lines(job), media_type="application/x-ndjson")

        return watched

    def _job(self, request: Request, answer: Answer, *, behind: bool) -> QueuedWork:
        question = Question(request.scope["client_key"], request.query_params)
        number = question.whole("number", 0)
        if number is None:
            raise InputError("a request has a number")
        return self._worker.ask(
            question.client, question.text("lane", "")[:80], number, answer(question), behind=behind
        )


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise ImageFileError(f"the explorer takes images of {MOST_BYTES:,} bytes at most; give a smaller one")
        parts.append(part)
    return b"".join(parts)


async def _awaited(request: Request, job: QueuedWork) -> Any:
    """The result of a job, which is cancelled when the client goes."""
    result = _future_of(job)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({result, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            job.cancel()
        return await result
    finally:
        gone.cancel()


def _future_of(job: QueuedWork) -> asyncio.Future[Any]:
    """The result of a job, whose error is nobody's loss if the client has gone."""
    result: asyncio.Future[Any] = asyncio.wrap_future(job.result)
    result.add_done_callback(lambda done: done.cancelled() or done.exception())
    return result


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _lines(job: QueuedWork) -> AsyncIterator[str]:
    result = _future_of(job)
    try:
        while True:
            done, _ = await asyncio.wait({result}, timeout=SHARES_EVERY)
            if done:
                break
            yield _json({"share": job.share}) + "\n"
        try:
            line = {"result": result.result()}
        except Superseded as error:
            line = {"error": str(error), "superseded": True}
        except Exception as error:
            line = {"error": _said(error)}
        yield _json(line) + "\n"
    finally:
        job.cancel()


def _said(error: BaseException) -> str:
    said = " ".join(str(error).splitlines())
    if isinstance(error, MemoryError) or "can't allocate memory" in said or "out of memory" in said:
        return "there is not enough memory for this"
    return said if isinstance(error, DeconvVizError) else f"{type(error).__name__}: {said}"


def _refused(error: DeconvVizError) -> Response:
    status = 409 if isinstance(error, Superseded) else 503 if isinstance(error, Busy) else 422
    return _sentence(status, str(error))


def _sentence(status: int, sentence: str) -> Response:
    return _Json({"error": sentence}, status_code=status)


class _Json(JSONResponse):
    """An answer as JSON."""

    def render(self, content: Any) -> bytes:
        return _json(content).encode()


def _json(content: Any) -> str:
    """JSON in ASCII, where names of files need not be text, with null for NaN and infinity."""
    try:
        return json.dumps(content, allow_nan=False, separators=(",", ":"))
    except ValueError:  # seldom: to look through all numbers of each answer takes longer than to write it
        return json.dumps(plain(content), allow_nan=False, separators=(",", ":"))


async def _not_found(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return _sentence(status, "the explorer has nothing at this address")


async def _failed(request: Request, error: Exception) -> Response:
    return _sentence(500, _said(error))


def _static(name: str, content: bytes) -> Response:
    return Response(content, media_type=f"{TYPES[name.rpartition('.')[2]]}; charset=utf-8")


def page_files() -> dict[str, bytes]:
    """The files of the page by their names, read once: no address is ever a path."""
    found = {PAGE_FILE: web_page(PAGE_FILE, title="deconvviz explorer", generator="deconvviz explorer").encode()}
    for folder in ("shared", "explorer"):
        found |= {
            f"{folder}/{name}": file for name, file in web_files(folder).items() if name.endswith((".js", ".css"))
        }
    return found
