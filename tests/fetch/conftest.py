"""A small store with S3's API, on this machine, and an index of what it holds."""

import csv
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

COLUMNS = [
    "collection_id", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription",
    "instanceCount", "Modality", "series_size_MB", "crdc_series_uuid", "aws_bucket", "license_short_name", "source_DOI",
]  # fmt: skip
PAGE = 3


@dataclass
class Store:
    """Files by ``bucket/uuid/name``; ``faults`` says what goes wrong the next times a file is asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    hide_md5: bool = False
    address: str = ""
    index: Path = Path()

    def uuid(self, number: int) -> str:
        return f"0000000{number}-0000-4000-8000-000000000000"


class _Handler(BaseHTTPRequestHandler):
    store: Store

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        bucket, _, key = unquote(address.path).lstrip("/").partition("/")
        query = parse_qs(address.query)
        if "list-type" in query:
            self._list(bucket, query)
            return
        name = f"{bucket}/{key}"
        self.store.asked[name] += 1
        fault = self.store.faults.get(name, [])
        what = fault.pop(0) if fault else ""
        content = self.store.files.get(name)
        if what == "503":
            self._answer(503, b"slow down")
        elif content is None or what == "404":
            self._answer(404, b"none")
        elif what == "damaged":
            self._answer(200, bytes(len(content)))
        elif what == "short":
            self._answer(200, content[:-1])
        elif what == "broken":
            self._answer(200, content[: len(content) // 2], announced=len(content))
        else:
            self._answer(200, content)

    def _list(self, bucket: str, query: dict[str, list[str]]) -> None:
        prefix = f"{bucket}/{query['prefix'][0]}"
        if self.store.faults.get(prefix):
            self._answer(200, self.store.faults[prefix].pop(0).encode())
            return
        names = sorted(name for name in self.store.files if name.startswith(prefix))
        start = int(query.get("continuation-token", ["0"])[0])
        items = "".join(
            f"<Contents><Key>{name.partition('/')[2]}</Key><Size>{len(self.store.files[name])}</Size>"
            f"<ETag>&quot;{self._md5(name)}&quot;</ETag></Contents>"
            for name in names[start : start + PAGE]
        )
        more = f"<NextContinuationToken>{start + PAGE}</NextContinuationToken>" if start + PAGE < len(names) else ""
        space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        self._answer(200, f"<ListBucketResult {space}>{items}{more}</ListBucketResult>".encode())

    def _md5(self, name: str) -> str:
        # Of a file stored in pieces S3 tells another hash, with the number of pieces.
        digest = hashlib.md5(self.store.files[name]).hexdigest()
        return f"{digest}-2" if self.store.hide_md5 else digest

    def _answer(self, status: int, content: bytes, *, announced: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if announced is None else announced))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library names it
        """Say nothing of requests."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two patients of collection ``demo_breast``: a pre, a post and a T2 each; 4 files a series."""
    found = Store()
    rows = []
    number = 0
    for patient in ("DEMO-1", "DEMO-2"):
        for place, name in enumerate(("ax dyn pre", "ax dyn 1st pass", "ax t2"), start=1):
            number += 1
            for at in range(4):
                content = f"{patient} {name} {at}".encode() * 50
                found.files[f"demo-bucket/{found.uuid(number)}/{at}.dcm"] = content
            rows.append([
                "demo_breast", patient, f"1.{patient[-1]}", f"1.2.{number}", place, name, 4, "MR", 0.004,
                found.uuid(number), "demo-bucket", "CC BY-NC 4.0" if patient == "DEMO-1" else "CC BY 4.0", "10.1/demo",
            ])  # fmt: skip
    rows.append(["demo_ct", "CT-1", "2.1", "2.1.1", 1, "ct", 4, "CT", 1, found.uuid(9), "b", "CC BY 4.0", ""])
    found.index = tmp_path / "index.csv"
    with found.index.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    handler = type("Handler", (_Handler,), {"store": found})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    found.address = f"http://127.0.0.1:{server.server_address[1]}/{{bucket}}"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()
