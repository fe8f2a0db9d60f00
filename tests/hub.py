"""A Hugging Face hub on 127.0.0.1, as much of it as downloading needs."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves `repos`, remembers every request, and misbehaves when told to.

    Args:
        repos: path of a repository, such as "openai-community/gpt2" or
            "datasets/ucirvine/sms_spam" -> {file name: content}.
    """

    def __init__(self, repos):
        self.repos = repos
        self.requests = []  # (method, path, Range header or None)
        self.status = None  # such as 503: the answer to everything
        self.cuts = []  # for each coming file content: bytes sent before a cut, or None
        self.refuses_ranges = False
        self.headers = {}  # more headers with every file; None takes one away
        self.storage = None  # another Hub to redirect to, as is done for large files

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Nobody listens any more: connections are refused."""
        self._server.shutdown()
        self._server.server_close()

    def ranges(self, file):
        """The Range header of each request for the content of a file, None without."""
        return [r for m, path, r in self.requests if m == "GET" and path.endswith(file)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    server_bind = TCPServer.server_bind  # HTTPServer's own asks the DNS for a name


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path).lstrip("/")
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        listing = re.fullmatch(r"api/(?:models/|(?=datasets/))(.+)/tree/[^/]+", path)
        repo, _, revision_and_file = path.partition("/resolve/")
        file = revision_and_file.partition("/")[2]
        files = self.hub.repos.get(listing[1] if listing else repo)
        if self.hub.status:
            self._answer(self.hub.status)
        elif files is None:
            self._answer(404, {"X-Error-Code": "RepoNotFound"})
        elif listing:
            self._answer(200, {}, json.dumps([_entry(f, files[f]) for f in files]))
        elif file not in files:
            self._answer(404, {"X-Error-Code": "EntryNotFound"})
        else:
            self._answer_file(file, files[file])

    def _answer_file(self, file, content):
        etag = f'"{etag_of(file, content)}"'
        headers = {"X-Repo-Commit": COMMIT, "ETag": etag}
        # The real hub always offers its own transfer protocol too.
        headers |= {"X-Xet-Hash": "0" * 64, "X-Xet-Refresh-Route": self.hub.url}
        status, start = 200, 0
        if self.hub.storage:
            status, start = 302, len(content)
            headers |= {"X-Linked-Etag": etag, "X-Linked-Size": len(content)}
            headers |= {"Location": self.hub.storage.url + self.path}
        elif self.hub.refuses_ranges and "Range" in self.headers:
            status, start, content = 416, 0, b""
        elif asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            status, start = 206, int(asked[1])
            headers["Content-Range"] = (
                f"bytes {start}-{len(content) - 1}/{len(content)}"
            )
        sent = None
        if self.command == "GET" and status != 302 and self.hub.cuts:
            sent = self.hub.cuts.pop(0)
        self._answer(status, headers | self.hub.headers, content[start:], sent)

    def _answer(self, status, headers=None, body=b"", sent=None):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        headers = {"Content-Length": len(body)} | (headers or {})
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:sent])


def etag_of(file, content):
    """As on the real hub: a sha256 of a large file, git's sha1 of a text."""
    if file.endswith((".json", ".txt")):
        return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    return hashlib.sha256(content).hexdigest()


def _entry(file, content):
    return {"type": "file", "path": file, "size": len(content), "oid": "0" * 40}
