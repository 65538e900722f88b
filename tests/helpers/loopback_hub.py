"""A Hugging Face Hub on loopback: the real client's paths and headers, and faults to play.

`python tests/loopback_hub.py ROOT` serves a folder until it is interrupted; HF_ENDPOINT takes the
address that it prints. `hub_content.py` fills such a folder.
"""

import base64
import contextlib
import hashlib
import json
import re
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml

Kind = Literal["models", "datasets"]

LFS_SUFFIXES = {".safetensors", ".bin", ".pt", ".parquet"}
DATE = "2024-05-01T12:00:00.000Z"
TOKEN = "hf_secretOfNobody"  # of somebody who may write

API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/(.+))?")
RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
PREUPLOAD = re.compile(r"/api/models/([^/]+/[^/]+)/preupload/main")
LFS_BATCH = re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")
LFS_OBJECT = re.compile(r"/lfs/([0-9a-f]{64})")
COMMIT = re.compile(r"/api/models/([^/]+/[^/]+)/commit/main")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Reply:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    of_file: bool = False  # a connection is cut within files only


class HubError(Exception):
    """What the hub answers instead of what was asked for."""

    def __init__(self, status: int, message: str, code: str = "", commit: str = "") -> None:
        super().__init__(message)
        headers = {"X-Error-Code": code, "X-Error-Message": message, "X-Repo-Commit": commit}
        told = {name: value for name, value in headers.items() if value}
        self.reply = as_json({"error": message}, status, told)


def as_json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    body = json.dumps(content).encode()
    return Reply(status, {**(headers or {}), "Content-Type": "application/json"}, body)


# --- repositories ----------------------------------------------------------------------------


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class HubFile:
    """A file as the hub describes it: by its git blob, which for LFS is that of the pointer."""

    path: str
    source: Path
    size: int
    blob_id: str
    sha256: str
    pointer_size: int  # 0: not in LFS

    @property
    def etag(self) -> str:
        return self.sha256 if self.pointer_size else self.blob_id

    def lfs(self, hash_name: str) -> dict[str, object]:
        """`hash_name`: the two halves of the real API call the same hash by different names."""
        if not self.pointer_size:
            return {}
        about = {hash_name: self.sha256, "size": self.size, "pointerSize": self.pointer_size}
        return {"lfs": about}

    def as_sibling(self, blobs: bool) -> dict[str, object]:
        about = {"blobId": self.blob_id, "size": self.size, **self.lfs("sha256")}
        return {"rfilename": self.path, **(about if blobs else {})}

    def as_entry(self) -> dict[str, object]:
        about = {"type": "file", "oid": self.blob_id, "size": self.size, "path": self.path}
        return {**about, **self.lfs("oid")}


def read_file(folder: Path, source: Path) -> HubFile:
    content = source.read_bytes()
    sha256, size = hashlib.sha256(content).hexdigest(), len(content)
    path = source.relative_to(folder).as_posix()
    if source.suffix not in LFS_SUFFIXES:
        return HubFile(path, source, size, git_hash(content), sha256, 0)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    return HubFile(path, source, size, git_hash(pointer.encode()), sha256, len(pointer))


@dataclass(frozen=True)
class Repository:
    """A folder as its one commit has it."""

    kind: Kind
    id: str
    commit: str
    files: Mapping[str, HubFile]

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    @property
    def name(self) -> str:
        return self.id.split("/")[1]

    def entry(self, path: str) -> dict[str, object] | None:
        """What the tree says about a file or a folder."""
        if path in self.files:
            return self.files[path].as_entry()
        below = [file.blob_id for name, file in self.files.items() if name.startswith(path + "/")]
        if not below:
            return None
        tree_id = hashlib.sha1("".join(below).encode()).hexdigest()
        return {"type": "directory", "oid": tree_id, "size": 0, "path": path}

    def folders(self) -> set[str]:
        parents = {str(parent) for name in self.files for parent in Path(name).parents}
        return parents - {"."}

    def missing(self, path: str) -> HubError:
        return HubError(404, f"Entry not found: {path}", "EntryNotFound", self.commit)


def branch(folder: Path, name: str) -> Path:
    """The folder beside that of a repository which has the files of one of its branches."""
    return folder.with_name(f"{folder.name}@{quote(name, safe='')}")


def read_repository(root: Path, kind: Kind, repo_id: str) -> Repository:
    folder = root / kind / repo_id
    repo_id = repo_id.partition("@")[0]
    sources = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [read_file(folder, source) for source in sources]
    listing = "".join(f"{file.path}\0{file.sha256}\n" for file in files)
    commit = hashlib.sha1(listing.encode()).hexdigest()
    return Repository(kind, repo_id, commit, {file.path: file for file in files})


# --- the hub ---------------------------------------------------------------------------------


class LoopbackHub:
    """Serves `root/models/<owner>/<name>` and `root/datasets/<owner>/<name>`, and logs who asks.

    The files of another branch than main lie beside it, in the folder that `branch` names.

    The attributes up to `ranges` are for tests to change while the hub runs.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tags: dict[tuple[Kind, str], set[str]] = {}
        self.gated: set[str] = set()  # repositories that are refused altogether
        self.gated_files: set[str] = set()  # whose files are refused, while anyone may list them
        self.corrupt: set[str] = set()  # files, by name or by path, sent with one wrong byte
        self.read_only: set[str] = set()  # owners to whose repositories nobody may write
        self.uploaded: dict[str, bytes] = {}  # large files by SHA-256, before a commit has them
        self.requests: list[str] = []  # "GET /path?query"
        self.ranges: list[str] = []  # "bytes=100-", of the requests that had one
        self._failures: list[int] = []
        self._cuts = 0
        self._known: dict[tuple[Kind, str], Repository] = {}
        self._lock = threading.RLock()
        self._server = _Server(self)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        # The default of 0.5 s is how long every test would wait for the end.
        options = {"poll_interval": 0.02}
        threading.Thread(target=self._server.serve_forever, kwargs=options, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def commit(self, kind: Kind, repo_id: str) -> str:
        return self.repository(kind, repo_id).commit

    def refresh(self) -> None:
        """To be called when files have changed since somebody asked for them."""
        with self._lock:
            self._known.clear()

    def fail_next(self, n: int, status: int = 503) -> None:
        with self._lock:
            self._failures += [status] * n

    def cut_next(self, n: int) -> None:
        with self._lock:
            self._cuts += n

    def repository(self, kind: Kind, repo_id: str) -> Repository:
        with self._lock:
            if (kind, repo_id) not in self._known:
                self._known[kind, repo_id] = read_repository(self.root, kind, repo_id)
            return self._known[kind, repo_id]

    # --- what a request gets ---

    def open(self, kind: Kind, repo_id: str, revision: str, logged_in: bool) -> Repository:
        if not (self.root / kind / repo_id).is_dir():
            # The real hub tells strangers nothing: to them, missing and private look the same.
            if not logged_in:
                raise HubError(401, "Invalid username or password.", "RepoNotFound")
            raise HubError(404, "Repository not found", "RepoNotFound")
        if repo_id in self.gated:
            raise gated(repo_id, logged_in)
        repository = self.repository(kind, repo_id)
        if revision in {"main", repository.commit, *self.tags.get((kind, repo_id), ())}:
            return repository
        for folder in (self.root / kind / repo_id).parent.glob(f"{repository.name}@*"):
            beside = self.repository(kind, f"{repository.owner}/{folder.name}")
            if revision in {unquote(folder.name.partition("@")[2]), beside.commit}:
                return beside
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def reply(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self._log(method, url, headers)
        address, logged_in = urlsplit(url), "authorization" in headers
        if match := RESOLVE.fullmatch(address.path):
            kind: Kind = "datasets" if match[1] else "models"
            repository = self.open(kind, match[2], unquote(match[3]), logged_in)
            if repository.id in self.gated_files:
                raise gated(repository.id, logged_in)
            return self._file(repository, unquote(match[4]), headers.get("range", ""))
        if match := API.fullmatch(address.path):
            # The client quotes a slash within a revision, so the first slash ends it.
            revision, _, path = (match[4] or "main").partition("/")
            repository = self.open(cast(Kind, match[1]), match[2], unquote(revision), logged_in)
            query = parse_qs(address.query)
            if match[3] == "tree":
                return tree(repository, unquote(path), query)
            if match[3] == "paths-info":
                return paths_info(repository, headers.get("content-type", ""), body)
            return self._info(repository, blobs=is_true(query, "blobs"))
        if (reply := self._upload(method, address.path, headers, body)) is not None:
            return reply
        raise HubError(404, f"No such page: {address.path}")

    def _upload(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Reply | None:
        """What a request of an upload gets, in the order in which they come; None for others."""
        if path == "/api/repos/create":
            asked = json.loads(body)
            self._check_writer(asked["organization"], headers)
            folder = self.root / "models" / asked["organization"] / asked["name"]
            existed = folder.is_dir()
            folder.mkdir(parents=True, exist_ok=True)
            url = f"{self.endpoint}/{asked['organization']}/{asked['name']}"
            return as_json({"url": url}, 409 if existed else 200)
        if path == "/api/validate-yaml":
            return as_json({"warnings": [], "errors": []})
        if match := PREUPLOAD.fullmatch(path):
            self._check_writer(match[1].split("/")[0], headers)
            return as_json({"files": [mode_of(f["path"]) for f in json.loads(body)["files"]]})
        if LFS_BATCH.fullmatch(path):
            objects = [self._upload_action(each) for each in json.loads(body)["objects"]]
            return as_json({"transfer": "basic", "objects": objects})
        if method == "PUT" and (match := LFS_OBJECT.fullmatch(path)):
            self.uploaded[match[1]] = body
            return Reply()
        if match := COMMIT.fullmatch(path):
            self._check_writer(match[1].split("/")[0], headers)
            return self._commit(match[1], [json.loads(line) for line in body.splitlines()])
        return None

    def _check_writer(self, owner: str, headers: Mapping[str, str]) -> None:
        if "authorization" not in headers:
            raise HubError(401, "Invalid username or password.")
        if owner in self.read_only:
            raise HubError(403, f"You don't have the rights to create a model under {owner}")

    def _upload_action(self, asked: Mapping[str, object]) -> dict[str, object]:
        upload = {"href": f"{self.endpoint}/lfs/{asked['oid']}"}
        return {"oid": asked["oid"], "size": asked["size"], "actions": {"upload": upload}}

    def _commit(self, repo_id: str, operations: list[dict[str, Any]]) -> Reply:
        folder = self.root / "models" / repo_id
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                (folder / value["path"]).write_bytes(base64.b64decode(value["content"]))
            elif operation["key"] == "lfsFile":
                content = self.uploaded[value["oid"]]
                if hashlib.sha256(content).hexdigest() != value["oid"]:
                    raise HubError(422, f"{value['path']} is damaged")
                (folder / value["path"]).write_bytes(content)
        self.refresh()
        commit = self.commit("models", repo_id)
        url = f"{self.endpoint}/{repo_id}/commit/{commit}"
        return as_json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    def _log(self, method: str, url: str, headers: Mapping[str, str]) -> None:
        with self._lock:
            self.requests.append(f"{method} {url}")
            if "range" in headers:
                self.ranges.append(headers["range"])
            if self._failures:
                raise HubError(self._failures.pop(0), "The hub plays a fault")

    def _info(self, repository: Repository, blobs: bool) -> Reply:
        about: dict[str, object] = {"id": repository.id, "author": repository.owner}
        if repository.kind == "models":
            about["modelId"] = repository.id
        about |= {"sha": repository.commit, "lastModified": DATE, "createdAt": DATE}
        about |= {"private": False, "disabled": False, "downloads": 0, "likes": 0, "tags": []}
        about["gated"] = "manual" if repository.id in self.gated_files else False
        about["cardData"] = card_data(repository)
        about["siblings"] = [file.as_sibling(blobs) for file in repository.files.values()]
        return as_json(about)

    def _file(self, repository: Repository, path: str, wanted: str) -> Reply:
        if path not in repository.files:
            raise repository.missing(path)
        file = repository.files[path]
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{file.etag}"'}
        headers |= {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if file.pointer_size:
            headers |= {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.etag}"'}
        content = file.source.read_bytes()
        if {path, file.source.name} & self.corrupt:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
        return part(Reply(200, headers, content, of_file=True), wanted)

    def cuts(self) -> bool:
        """Whether this file is one of those that are sent by half."""
        with self._lock:
            cut, self._cuts = self._cuts > 0, max(self._cuts - 1, 0)
            return cut


def mode_of(path: str) -> dict[str, object]:
    """How the hub wants a file to be uploaded."""
    large = Path(path).suffix in LFS_SUFFIXES
    return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}


def card_data(repository: Repository) -> dict[str, object]:
    """What the hub reads of a card: what stands between its first lines of dashes."""
    if "README.md" not in repository.files:
        return {}
    start, *rest = repository.files["README.md"].source.read_text().split("---\n", 2)
    found = yaml.safe_load(rest[0]) if not start and rest else None
    return found if isinstance(found, dict) else {}


def gated(repo_id: str, logged_in: bool) -> HubError:
    message = f"Access to {repo_id} is restricted. You must have access to it and be authenticated."
    return HubError(403 if logged_in else 401, message, "GatedRepo")


def part(whole: Reply, wanted: str) -> Reply:
    """The bytes that a Range header asks for."""
    if not (match := RANGE.fullmatch(wanted)):
        return whole
    size, start = len(whole.body), int(match[1])
    if start >= size:
        return Reply(416, {"Content-Range": f"bytes */{size}"})
    body = whole.body[start : int(match[2]) + 1 if match[2] else size]
    told = {"Content-Range": f"bytes {start}-{start + len(body) - 1}/{size}"}
    return Reply(206, {**whole.headers, **told}, body, of_file=True)


def is_true(query: Mapping[str, list[str]], name: str) -> bool:
    return query.get(name, [""])[-1].lower() in {"true", "1"}


def expanded(repository: Repository, entry: dict[str, object]) -> dict[str, object]:
    safe = {"status": "safe", "avScan": None, "pickleImportScan": None}
    commit = {"id": repository.commit, "title": "Upload files", "date": DATE}
    scan = {"securityFileStatus": safe} if entry["type"] == "file" else {}
    return {**entry, "lastCommit": commit, **scan}


def tree(repository: Repository, path: str, query: Mapping[str, list[str]]) -> Reply:
    prefix = path + "/" if path else ""
    inside = {p for p in {*repository.files, *repository.folders()} if p.startswith(prefix)}
    if not inside and path:
        raise repository.missing(path)
    if not is_true(query, "recursive"):
        inside = {p for p in inside if "/" not in p.removeprefix(prefix)}
    return listed(repository, sorted(inside), expand=is_true(query, "expand"))


def paths_info(repository: Repository, content_type: str, body: bytes) -> Reply:
    """The client sends a form, others send JSON. What does not exist is left out."""
    if content_type.startswith("application/json"):
        asked = json.loads(body)
        return listed(repository, asked["paths"], expand=bool(asked.get("expand")))
    form = parse_qs(body.decode())
    return listed(repository, form.get("paths", []), expand=is_true(form, "expand"))


def listed(repository: Repository, paths: list[str], expand: bool) -> Reply:
    entries = [entry for path in paths if (entry := repository.entry(path.rstrip("/")))]
    return as_json([expanded(repository, entry) for entry in entries] if expand else entries)


# --- HTTP ------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: LoopbackHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self.connections: set[socket.socket] = set()

    def server_close(self) -> None:
        """Ends open connections too: clients pool them, and would find a closed hub at work."""
        super().server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):  # the other side was first
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # clients may leave
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections alive
    disable_nagle_algorithm = True  # headers and body are two packets: the second would wait

    def setup(self) -> None:
        super().setup()
        cast(_Server, self.server).connections.add(self.connection)

    def finish(self) -> None:
        cast(_Server, self.server).connections.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self) -> None:
        hub = cast(_Server, self.server).hub
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._body()
        try:
            reply = hub.reply(self.command, self.path, headers, body)
        except HubError as error:
            reply = error.reply
        self._send(reply, cut=self.command == "GET" and reply.of_file and hub.cuts())

    def _send(self, reply: Reply, cut: bool) -> None:
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: len(reply.body) // 2] if cut else reply.body)
        self.close_connection = self.close_connection or cut

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `LoopbackHub.requests` has it."""


def main() -> None:
    with LoopbackHub(Path(sys.argv[1])) as hub:
        print(hub.endpoint, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
