"""A server on loopback that gives a browser the console's page, and calls a host for it by the client in Python.

It stands in for the door's WebSocket: `client.js` is replaced by one that asks this server, all other files are those
of the page, under the headers that the page is made for.
"""

from __future__ import annotations

import base64
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import tlsrt.loops
from hosts.running_host import RunningHost
from tlsrt import Client, TlsrtError

PAGE = Path(tlsrt.loops.__path__[0]) / "third" / "console" / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
CLIENT = """
class TlsrtError extends Error { constructor(code, text) { super(text); this.code = code } }
const asMap = value => Array.isArray(value) ? value.map(asMap) : value === null || typeof value !== 'object' ? value
  : value.$bytes !== undefined ? Uint8Array.from(atob(value.$bytes), one => one.charCodeAt(0))
  : new Map(Object.entries(value).map(([key, one]) => [key, asMap(one)]))
const open = new Map() // number -> {items, wake}
const page = crypto.randomUUID()
let number = 0, down = null, begun
const ready = new Promise(resolve => { begun = resolve })
async function listen() {
  const answer = await fetch('/down', { method: 'POST', body: JSON.stringify({ page }) })
  begun()
  let text = ''
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    const lines = (text + piece).split('\\n')
    text = lines.pop()
    for (const line of lines) {
      const item = JSON.parse(line), one = open.get(item.number)
      one?.items.push(item)
      one?.wake()
    }
  }
}
async function* ask(path, body, signal) {
  down ??= listen()
  await ready
  const mine = ++number, one = { items: [], wake: () => {} }
  open.set(mine, one)
  signal?.addEventListener('abort', () => { one.items.push({ ended: true }); one.wake() }, { once: true })
  await fetch(path, { method: 'POST', body: JSON.stringify({ ...body, page, number: mine }) })
  try {
    for (;;) {
      while (!one.items.length) await new Promise(wake => { one.wake = wake })
      const item = one.items.shift()
      if (item.ended) return
      if (item.code) throw new TlsrtError(item.code, item.says)
      yield asMap(item.item)
    }
  } finally {
    open.delete(mine)
    fetch('/end', { method: 'POST', body: JSON.stringify({ page, number: mine }) })
  }
}
class BridgedClient extends EventTarget {
  host = { name: location.host, install: '' }
  offlineSince = null
  async begin() {
    for await (const about of ask('/about', {})) {
      this.subject = about.get('subject')
      this.rights = new Map([...about.get('rights')].map(([target, methods]) => [target, { methods, running: true }]))
    }
    return globalThis.bridged = this
  }
  async call(target, method, args = [], { named = {}, signal } = {}) {
    for await (const item of ask('/call', { target, method, args, named }, signal)) return item
  }
  stream(target, method, args = [], { named = {}, signal } = {}) {
    return ask('/stream', { target, method, args, named }, signal)
  }
  describe(target) { return this.call(target, 'describe') }
}
export { TlsrtError }
export const newKey = () => crypto.randomUUID().replaceAll('-', '')
export const takeCode = () => {
  const code = location.hash.slice(1)
  if (code) history.replaceState(null, '', location.pathname)
  return code || null
}
export const loadIdentity = async () => ({}), forget = async () => {}
export const enrol = async ({ code }) => {
  if (code !== 'good') throw new TlsrtError('rejected', 'the host refused this link')
  return {}
}
export const connect = (identity, { meanwhile } = {}) => {
  const made = new BridgedClient()
  meanwhile?.(made)
  return made.begin()
}
"""


def _written(value: Any) -> Any:
    return {"$bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else str(value)


@contextmanager
def bridged(host: RunningHost) -> Iterator[str]:
    """Serve the page for the client `admin` of a host; gives its address."""
    client, streams = host.client(), dict[tuple[str, int], Client]()
    pages: dict[str, queue.SimpleQueue[dict[str, Any] | None]] = {}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

        def do_GET(self) -> None:
            name = self.path.lstrip("/") or "index.html"
            path = PAGE / name
            known = path.parent == PAGE and path.is_file()
            content = CLIENT.encode() if name == "client.js" else path.read_bytes() if known else b""
            self._begin(200 if content else 404, _KINDS.get(path.suffix, "text/plain"))
            self.wfile.write(content)

        def _begin(self, status: int, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.flush()

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            lines = _begun(asked["page"]) if self.path == "/down" else None
            self._begin(200, "application/x-ndjson")
            if lines is not None:
                self._down(lines)
            elif self.path == "/end":
                _end(asked["page"], asked["number"])
            else:
                threading.Thread(target=_work, args=(self.path, asked), daemon=True).start()

        def _down(self, lines: queue.SimpleQueue[dict[str, Any] | None]) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):
                while (line := lines.get()) is not None:
                    self.wfile.write(json.dumps(line, default=_written).encode() + b"\n")
                    self.wfile.flush()

    def _begun(page: str) -> queue.SimpleQueue[dict[str, Any] | None]:
        for other in [*pages]:  # a page that was left
            pages.pop(other).put(None)
            for key in [key for key in streams if key[0] == other]:
                _end(*key)
        pages[page] = queue.SimpleQueue()
        return pages[page]

    def _end(page: str, number: int) -> None:
        if (own := streams.pop((page, number), None)) is not None:
            own.close()

    def _work(path: str, asked: dict[str, Any]) -> None:
        number, page = asked["number"], asked["page"]
        if (lines := pages.get(page)) is None:
            return  # it was left
        try:
            for item in _answer(path, asked):
                lines.put({"number": number, "item": item})
        except TlsrtError as error:
            code = getattr(error, "code", "") or type(error).__name__.lower()
            lines.put({"number": number, "code": str(code), "says": str(error)})
        lines.put({"number": number, "ended": True})

    def _answer(path: str, asked: dict[str, Any]) -> Iterator[Any]:
        if path == "/about":
            yield {"subject": client.subject, "rights": client.rights}
        elif path == "/stream":
            own = streams[asked["page"], asked["number"]] = host.client()
            yield from own.stream(asked["target"], asked["method"], *asked["args"], **asked["named"])
        else:
            yield client.call(asked["target"], asked["method"], *asked["args"], **asked["named"])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        for lines in pages.values():
            lines.put(None)
        for key in [*streams]:
            _end(*key)
        server.shutdown()
        server.server_close()
