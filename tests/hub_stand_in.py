"""A hub for tests: the part of its HTTP protocol that publishing needs, in a thread on loopback.

`tokens` says whom a token belongs to. Repositories have their files in `repos`, once they are committed. A repository
whose name begins with `breaks-at-` loses its connection there: at the upload of a large file, or at the commit.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = (".safetensors",)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def answer(self, content=None, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def break_off(self) -> None:
        self.close_connection = True

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def handle_request(self) -> None:
        hub, path, content = self.server.hub, self.path.partition("?")[0], self.body()
        user = hub.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
        hub.requests.append((self.command, path, user))
        if found := re.fullmatch(r"/large/([0-9a-f]{64})/(.+)", path):
            return self.keep_large(*found.groups(), content)  # its address is the permission
        if user is None:
            return self.answer({"error": "Invalid username or password."}, 401)
        for pattern, handle in ROUTES.items():
            if found := re.fullmatch(pattern, f"{self.command} {path}"):
                return handle(self, user, content, **found.groupdict())
        self.answer({"error": "Not found"}, 404)

    do_GET = do_POST = do_PUT = handle_request

    def who(self, user: str, content: bytes) -> None:
        self.answer({"type": "user", "name": user, "orgs": []})

    def create(self, user: str, content: bytes) -> None:
        asked = json.loads(content)
        repo = f"{asked.get('organization') or user}/{asked['name']}"
        address = {"url": f"{self.server.hub.address}/{repo}"}
        if repo in self.server.hub.repos:
            return self.answer(address | {"error": "You already created this model repo"}, 409)
        if not repo.startswith(f"{user}/"):
            return self.answer({"error": f"You don't have the rights to create a model under {repo}"}, 403)
        self.server.hub.repos[repo], self.server.hub.visible[repo] = {}, asked.get("visibility")
        self.answer(address)

    def tell(self, user: str, content: bytes, repo: str) -> None:
        known = repo in self.server.hub.repos
        self.answer({"id": repo, "sha": "0" * 40, "siblings": []} if known else {}, 200 if known else 404)

    def check_card(self, user: str, content: bytes) -> None:
        begins = json.loads(content)["content"].startswith("---\n")
        self.answer({"errors": [] if begins else [{"message": "no metadata"}], "warnings": []}, 200 if begins else 400)

    def may_write(self, user: str, repo: str) -> bool:
        if repo not in self.server.hub.repos:
            self.answer({"error": "Repository not found"}, 404)
        elif not repo.startswith(f"{user}/"):
            self.answer({"error": "Forbidden: you must be a member of the repository's owner"}, 403)
        else:
            return True
        return False

    def preupload(self, user: str, content: bytes, repo: str, revision: str) -> None:
        if not self.may_write(user, repo):
            return
        there, files = self.server.hub.repos[repo], []
        for file in json.loads(content)["files"]:
            kept, large = there.get(file["path"]), file["path"].endswith(LARGE)
            oid = None if kept is None else hashlib.sha256(kept).hexdigest() if large else blob_id(kept)
            mode = "lfs" if large else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.answer({"files": files})

    def batch(self, user: str, content: bytes, repo: str) -> None:
        if not self.may_write(user, repo):
            return
        objects = []
        for asked in json.loads(content)["objects"]:
            place = f"{self.server.hub.address}/large/{asked['oid']}/{repo}"
            is_new = (repo, asked["oid"]) not in self.server.hub.large
            objects.append(asked | ({"actions": {"upload": {"href": place}}} if is_new else {}))
        self.answer({"transfer": "basic", "objects": objects})

    def keep_large(self, oid: str, repo: str, content: bytes) -> None:
        if "/breaks-at-upload" in repo:
            return self.break_off()
        fits = hashlib.sha256(content).hexdigest() == oid
        if fits:
            self.server.hub.large[repo, oid] = content
        self.answer({}, 200 if fits else 400)

    def commit(self, user: str, content: bytes, repo: str, revision: str) -> None:
        if not self.may_write(user, repo):
            return
        if "/breaks-at-commit" in repo:
            return self.break_off()
        files = {}
        for part in map(json.loads, content.splitlines()):
            value = part["value"]
            if part["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif part["key"] == "lfsFile":
                files[value["path"]] = self.server.hub.large[repo, value["oid"]]
        self.server.hub.repos[repo] |= files
        self.server.hub.commits.append((repo, revision, sorted(files)))
        made = f"{len(self.server.hub.commits):040d}"
        self.answer(
            {"success": True, "commitOid": made, "commitUrl": f"{self.server.hub.address}/{repo}/commit/{made}"}
        )

    def branch(self, user: str, content: bytes, repo: str, revision: str) -> None:
        if self.may_write(user, repo):
            self.answer({})


NAME = r"(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES = {
    r"GET /api/whoami-v2": Handler.who,
    r"POST /api/repos/create": Handler.create,
    r"POST /api/validate-yaml": Handler.check_card,
    rf"GET /api/models/{NAME}(/revision/[^/]+)?": Handler.tell,
    rf"POST /api/models/{NAME}/preupload/(?P<revision>[^/]+)": Handler.preupload,
    rf"POST /api/models/{NAME}/commit/(?P<revision>[^/]+)": Handler.commit,
    rf"POST /api/models/{NAME}/branch/(?P<revision>[^/]+)": Handler.branch,
    rf"POST /{NAME}\.git/info/lfs/objects/batch": Handler.batch,
}


def blob_id(content: bytes) -> str:
    "As git names a file's content."
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    "The stand-in, within a `with` block."

    def __init__(self, tokens: dict[str, str]):
        self.tokens, self.repos, self.visible, self.large = tokens, {}, {}, {}
        self.requests, self.commits = [], []

    def __enter__(self) -> "Hub":
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.hub, self.server.daemon_threads = self, True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.server.shutdown()
        self.server.server_close()
