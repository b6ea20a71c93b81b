"""As much of the Hugging Face Hub as fetching and committing take: one repository, someone/nets, kept in a folder."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
from pathlib import Path
from typing import Any

COMMIT = "c0ffee" + "0" * 34
REPOSITORY = "someone/nets"
TOKEN = "hf_a_secret"


class Hub(http.server.BaseHTTPRequestHandler):
    """Its server has `root` (the files; no folder: no repository), `commit`, `served` and `commits`."""

    server: Any

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.send_json(403, {"error": "This token may not write"}, {"X-Error-Message": "This token may not write"})
            return
        if self.path == "/api/validate-yaml":
            self.server.cards.append(json.loads(content)["content"])
            self.send_json(200, {"warnings": [], "errors": []})
        elif self.path == "/api/repos/create":
            self.server.made.append(json.loads(content))
            self.server.root.mkdir()
            (self.server.root / ".gitattributes").write_text("")
            self.send_json(200, {"url": f"https://huggingface.co/{REPOSITORY}", "name": REPOSITORY, "id": "1"})
        elif self.path.startswith(f"/api/models/{REPOSITORY}/preupload/"):
            files = [one["path"] for one in json.loads(content)["files"]]
            modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]
            self.send_json(200, {"files": modes})
        elif self.path.startswith(f"/api/models/{REPOSITORY}/commit/"):
            self.commit([json.loads(line) for line in content.splitlines()])
        else:
            self.send_json(404, {"error": self.path})

    def commit(self, lines: list[dict[str, Any]]) -> None:
        """Take a commit, unless it was made for another state of the repository."""
        if lines[0]["value"]["parentCommit"] != self.server.commit or self.server.moved:
            self.send_json(
                412, {"error": "A commit has happened since"}, {"X-Error-Message": "A commit happened since"}
            )
            return
        for line in lines[1:]:
            path = self.server.root / line["value"]["path"]
            if line["key"] == "deletedFile":
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(line["value"]["content"]))
        self.server.commits.append(lines)
        self.server.commit = hashlib.sha1(json.dumps(lines).encode()).hexdigest()
        url = f"https://huggingface.co/{REPOSITORY}/commit/{self.server.commit}"
        self.send_json(200, {"commitUrl": url, "commitOid": self.server.commit, "success": True})

    def answer(self, *, body: bool) -> None:
        root: Path = self.server.root
        path = self.path.partition("?")[0]
        if not root.is_dir():
            self.send_json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        items = [item for item in root.rglob("*") if item.is_file()]
        names = {item.relative_to(root).as_posix(): item for item in items}
        if path.startswith(f"/api/models/{REPOSITORY}/revision/"):
            found = path.rpartition("/")[2] in ("main", "v1", self.server.commit)
            facts = {"id": REPOSITORY, "sha": self.server.commit, "private": False, "tags": []}
            facts["siblings"] = [{"rfilename": name} for name in names]
            if found:
                self.send_json(200, facts)
            else:
                self.send_json(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
            return
        if path == f"/api/models/{REPOSITORY}/tree/{self.server.commit}":
            self.send_json(
                200,
                [
                    {"type": "file", "path": name, "size": item.stat().st_size, "oid": "0" * 40}
                    for name, item in names.items()
                ],
            )
            return
        name = path.partition(f"/resolve/{self.server.commit}/")[2]
        if name not in names:
            self.send(404, b"", body, {"X-Error-Code": "EntryNotFound"})
            return
        self.server.served.append(name)
        content = names[name].read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        self.send(200, content, body, {"ETag": tag, "X-Repo-Commit": self.server.commit})

    def send_json(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self.send(
            status,
            json.dumps(content).encode(),
            self.command != "HEAD",
            {"Content-Type": "application/json", **(headers or {})},
        )

    def send(self, status: int, content: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)
