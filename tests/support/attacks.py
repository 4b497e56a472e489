"""Every attack of a hostile participant, and the statuses that are right. Tests and the benchmark run the same."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from hostile import NO_FILE, PIECE, TUS, Device, Raw, Scene, Seen, changed, honest_update, judged, seen

from fedflow.federation.protocol import signed_text


def _counts(scene: Scene) -> Iterator[Seen]:
    forged = (0, -1, 2**63, 10**18, 101, 1.5, 1e300, "7", True, None, [5], {"n": 5}, Raw("NaN"), Raw("Infinity"))
    content = honest_update(scene.start, 9)
    for count in (*forged, Raw("-0"), Raw("1e400"), Raw("9" * 5000)):
        yield seen(scene.mallory.send(scene.run, 1, content, count))


def _poisoned(scene: Scene) -> Iterator[Seen]:
    for value in (float("nan"), float("inf"), float("-inf")):
        poisoned = changed(scene.start, lambda values, x=value: np.append(values[:-1], x))
        yield seen(scene.mallory.send(scene.run, 1, poisoned))


def _scaled(scene: Scene) -> Iterator[Seen]:
    for factor in (1e6, -1e6, 1e30):
        scaled = changed(scene.start, lambda values, f=factor: (values + 0.01) * f)
        yield seen(scene.mallory.send(scene.run, 1, scaled))


def _traversal(scene: Scene) -> Iterator[Seen]:
    mallory, up = scene.mallory, "..%2f..%2f..%2fetc%2fpasswd"
    for name in (up, "..", "%2e%2e%2fserver.db", "%00", "a" * 41, "'%20OR%201=1", "%ff"):
        yield seen(mallory.get(f"/files/{name}"))
        yield seen(mallory.get(f"/runs/{name}"))
        yield seen(mallory.patch(name, b"x"))
        yield seen(mallory.delete(name))
        yield seen(mallory.hand_in(scene.run, 1, name.replace("%2f", "/").replace("%00", "\0"), NO_FILE))
    yield scene.raw(b"GET /api/v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    yield scene.raw(b"GET /openapi/../../../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    yield seen(mallory.get("/files/" + "A" * 64))


def _members_names(scene: Scene) -> Iterator[Seen]:
    for name in ("../up", "a/b", "a\\b", ".hidden", "central", "a\0b", "a\nb", "", "x" * 81, "\ud800"):
        yield seen(scene.person.post(f"/federations/{scene.federation}/codes", {"member": name}))


def _metadata(scene: Scene) -> Iterator[Seen]:
    """A file name is the client's own business: it is kept as text, and no path is made of it."""
    name = base64.b64encode(b"../../../etc/cron.d/evil").decode()
    created = scene.mallory.create(1, f"filename {name}")
    yield seen(created)
    scene.mallory.delete(created.headers["Location"].rpartition("/")[2])


def _bad_metadata(scene: Scene) -> Iterator[Seen]:
    for metadata in ("filename ../../x", "a b c", "a " + "A" * 3000, "é x"):
        yield scene.raw(
            b"POST /api/v1/uploads HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTus-Resumable: 1.0.0\r\n"
            b"Upload-Length: 1\r\n" + f"Authorization: Bearer {scene.mallory.token}\r\n".encode()
            + f"Upload-Metadata: {metadata}\r\n\r\n".encode()
        )  # fmt: skip


def _oversized(scene: Scene) -> Iterator[Seen]:
    for length in (20_000_000_001, 10**17, 256_000_001):
        yield seen(scene.mallory.create(length))


def _odd_lengths(scene: Scene) -> Iterator[Seen]:
    for length in ("-1", "1.5", "9" * 40, "0x10", "", "NaN"):
        yield seen(scene.mallory.create(length))


def _more_than_announced(scene: Scene) -> Iterator[Seen]:
    upload = scene.mallory.create(1000).headers["Location"].rpartition("/")[2]
    yield seen(scene.mallory.patch(upload, b"x" * 1001))
    yield seen(scene.mallory.patch(upload, b"x" * 200_000))
    scene.mallory.delete(upload)


def _endless(scene: Scene) -> Iterator[Seen]:
    """Chunks without an end: cut off as soon as they are more than was announced."""
    upload = scene.mallory.create(100_000).headers["Location"].rpartition("/")[2]
    host, port = scene.url.removeprefix("http://").split(":")
    lines = {**PIECE, "Upload-Offset": "0", "Transfer-Encoding": "chunked", "Host": "x", **scene.mallory.auth()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"PATCH /api/v1/uploads/{upload} HTTP/1.1\r\n{head}\r\n".encode())
        sent = 0
        try:
            while sent < 200_000_000:
                connection.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                sent += 0x4000
        except OSError:
            pass
        answer = b""
        with suppress(OSError):  # cut off in the middle of its own bytes
            answer = connection.recv(4000)
    scene.mallory.delete(upload)
    assert sent < 50_000_000, f"{sent} bytes were taken"
    if not answer:
        yield Seen(413, "the connection was closed")
        return
    yield judged(int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2])


def _too_many_uploads(scene: Scene) -> Iterator[Seen]:
    opened = [scene.mallory.create(5) for _ in range(9)]
    yield seen(opened[-1])
    for created in opened[:-1]:
        scene.mallory.delete(created.headers["Location"].rpartition("/")[2])


def _other_rounds(scene: Scene) -> Iterator[Seen]:
    content = honest_update(scene.start, 9)
    for number in (2, 7, 2**31):
        yield seen(scene.mallory.send(scene.run, number, content))


def _odd_rounds(scene: Scene) -> Iterator[Seen]:
    for number in (0, 2**31 + 1, 10**30):
        yield seen(scene.mallory.hand_in(scene.run, number, "x", NO_FILE))


def _wrong_run(scene: Scene) -> Iterator[Seen]:
    yield seen(scene.mallory.send("0" * 36, 1, honest_update(scene.start, 9)))
    yield seen(scene.outsider.get(f"/runs/{scene.run}"))
    yield seen(scene.outsider.get(f"/runs/{scene.run}/refusals"))
    yield seen(scene.outsider.post(f"/runs/{scene.run}/consent", {"accept": True, "num_examples": 5}))
    yield seen(scene.outsider.send(scene.run, 1, honest_update(scene.start, 9)))


def _others_uploads(scene: Scene) -> Iterator[Seen]:
    alice = next(iter(scene.honest.values()))
    content = honest_update(scene.start, 9)
    upload = alice.upload(content)
    yield seen(scene.mallory.hand_in(scene.run, 1, upload, hashlib.sha256(content).hexdigest()))
    yield seen(scene.mallory.patch(upload, b"x", len(content)))
    yield seen(scene.mallory.delete(upload))
    alice.delete(upload)


def _others_files(scene: Scene) -> Iterator[Seen]:
    for content in (honest_update(scene.start, 0), honest_update(scene.start, 1), b"nothing"):
        yield seen(scene.mallory.get(f"/files/{hashlib.sha256(content).hexdigest()}"))
    yield seen(scene.outsider.get(f"/files/{hashlib.sha256(scene.start).hexdigest()}"))


def _dead_tokens(scene: Scene) -> Iterator[Seen]:
    expired, revoked, removed = (scene.new_device(name) for name in ("expired", "revoked", "removed"))
    scene.sql("UPDATE device_token SET expires_at = 1 WHERE device_id = ?", expired.id)
    scene.person.post(f"/devices/{revoked.id}/revoke", {}).raise_for_status()
    members = scene.person.get(f"/federations/{scene.federation}/members?limit=200").json()["items"]
    [member] = [item["id"] for item in members if item["name"] == "removed"]
    scene.person.http.delete(f"{scene.person.url}/members/{member}", headers=scene.person.auth()).raise_for_status()
    for device in (expired, revoked, removed):
        yield seen(device.get("/work"))
        yield seen(device.create(10))
        yield seen(device.hand_in(scene.run, 1, "x", NO_FILE))


def _no_tokens(scene: Scene) -> Iterator[Seen]:
    for token in ("ffd_x", "ffp_x", "", "ffd_" + "A" * 43, "ffp_" + "A" * 3000, "' OR 1=1 --", "null"):
        yield seen(scene.mallory.get("/work", token=token))
    for value in ("Basic eDp5", "Bearer", "Bearer a b c", "bearer\tx", "Digest username=x"):
        yield seen(scene.mallory.http.get(f"{scene.mallory.url}/work", headers={"Authorization": value}))


def _shut_out(scene: Scene) -> Iterator[Seen]:
    """A device that was revoked gets no new token either."""
    device = scene.new_device("shut-out")
    signed = device.signed()
    scene.person.post(f"/devices/{device.id}/revoke", {}).raise_for_status()
    yield seen(device.post("/devices/challenge", {"device_id": device.id}, token=""))
    yield seen(device.post("/devices/token", signed, token=""))


def _persons_routes(scene: Scene) -> Iterator[Seen]:
    mallory, run = scene.mallory, scene.run
    for path in (f"/runs/{run}/explain", f"/federations/{scene.federation}/events", "/federations"):
        yield seen(mallory.get(path))
    for path in ("pause", "stop", "resume", "close-round"):
        yield seen(mallory.post(f"/runs/{run}/{path}", {}))
    yield seen(mallory.post(f"/federations/{scene.federation}/codes", {"member": "friend"}))
    yield seen(mallory.post(f"/devices/{next(iter(scene.honest.values())).id}/revoke", {}))
    yield seen(mallory.post("/runs", {"federation_id": scene.federation, "plan": {}}))


def _devices_routes(scene: Scene) -> Iterator[Seen]:
    yield seen(scene.person.get("/work"))
    yield seen(scene.person.hand_in(scene.run, 1, "x", NO_FILE))


def _signatures(scene: Scene) -> Iterator[Seen]:
    mallory = scene.mallory
    alice = next(iter(scene.honest.values()))
    used = mallory.signed()
    mallory.post("/devices/token", used, token="").raise_for_status()
    yield seen(mallory.post("/devices/token", used, token=""))  # again
    hers = alice.post("/devices/challenge", {"device_id": alice.id}, token="").json()["nonce"]
    forged = base64.b64encode(mallory.key.sign(signed_text(alice.id, hers))).decode()
    yield seen(mallory.post("/devices/token", {"device_id": alice.id, "nonce": hers, "signature": forged}, token=""))
    for nonce, signature in (("wrong", "A" * 88), (alice.signed()["nonce"], forged)):
        asked = {"device_id": mallory.id, "nonce": nonce, "signature": signature}
        yield seen(mallory.post("/devices/token", asked, token=""))


def _no_signatures(scene: Scene) -> Iterator[Seen]:
    for signature in ("", "%%%", "é" * 10, "A" * 89, 5, None):
        asked = {**scene.mallory.signed(), "signature": signature}
        if signature == "":  # base64 of nothing: a signature, and a wrong one
            assert scene.mallory.post("/devices/token", asked, token="").status_code == 401
            continue
        yield seen(scene.mallory.post("/devices/token", asked, token=""))


def _json(scene: Scene) -> Iterator[Seen]:
    path = f"/runs/{scene.run}/rounds/1/updates"
    for body in (b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"[" * 30_000, b'{"a":' * 9000, b"NaN"):
        yield seen(scene.mallory.post(path, body))
        yield seen(scene.mallory.post("/join", body, token=""))


def _unknown_fields(scene: Scene) -> Iterator[Seen]:
    path = f"/runs/{scene.run}/rounds/1/updates"
    whole = {"upload_id": "x", "sha256": NO_FILE, "num_examples": 5}
    for body in ({**whole, "weight": 10**9}, {**whole, "sha256": "../x"}, {**whole, "metrics": {"a": "b"}}, {},
                 {**whole, "metrics": {f"m{i}": 1.0 for i in range(21)}}, {**whole, "upload_id": ["x"]}):  # fmt: skip
        yield seen(scene.mallory.post(path, body))


def _huge_json(scene: Scene) -> Iterator[Seen]:
    path = f"/runs/{scene.run}/rounds/1/updates"
    for size in (64_001, 5_000_000):
        yield seen(scene.mallory.post(path, b'{"a":"' + b"x" * size + b'"}'))
        yield seen(scene.mallory.post("/join", b" " * size, token=""))
    yield seen(scene.person.post("/federations", b" " * 1_000_001))


def _types(scene: Scene) -> Iterator[Seen]:
    path = f"/runs/{scene.run}/rounds/1/updates"
    for kind in (
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ):
        yield seen(scene.mallory.post(path, b'{"a": 1}', **{"Content-Type": kind}))
    upload = scene.mallory.create(10).headers["Location"].rpartition("/")[2]
    yield seen(scene.mallory.patch(upload, b"x", **{"Content-Type": "application/json"}))
    scene.mallory.delete(upload)


def _methods(scene: Scene) -> Iterator[Seen]:
    mallory = scene.mallory
    for method in ("PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
        yield seen(mallory.http.request(method, f"{mallory.url}/work", headers=mallory.auth()))
        yield seen(mallory.http.request(method, f"{mallory.url}/join"))
    override = {"X-HTTP-Method-Override": "DELETE"}
    yield seen(mallory.http.post(f"{mallory.url}/work", headers=mallory.auth() | override))


def _overrides(scene: Scene) -> Iterator[Seen]:
    """Method override is tus's alone, for PATCH and DELETE of one's own uploads."""
    upload = scene.mallory.create(10).headers["Location"].rpartition("/")[2]
    for method in ("GET", "PUT", "", "patch", "OPTIONS"):
        headers = TUS | scene.mallory.auth() | {"X-HTTP-Method-Override": method}
        yield seen(scene.mallory.http.post(f"{scene.mallory.url}/uploads/{upload}", headers=headers))
    scene.mallory.delete(upload)


def _floods(scene: Scene) -> Iterator[Seen]:
    many = "".join(f"X-{i}: y\r\n" for i in range(5000))
    yield scene.raw(f"GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n".encode())
    yield scene.raw(f"GET /healthz HTTP/1.1\r\nHost: x\r\nX: {'y' * 20_000}\r\n\r\n".encode())
    yield scene.raw(f"GET /healthz HTTP/1.1\r\nHost: x\r\n{'X: y' * 50_000}".encode())


def _long_addresses(scene: Scene) -> Iterator[Seen]:
    yield scene.raw(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")


def _smuggling(scene: Scene) -> Iterator[Seen]:
    end = b"0\r\n\r\nGET /api/v1/me HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST /api/v1/join HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for lines in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"X: a\r\n b\r\n",
        b"X: a\x00b\r\n",
        b"X:a\nTransfer-Encoding: chunked\r\n",
    ):
        yield scene.raw(head + lines + b"\r\n" + end)
    for line in (
        b"GET  / HTTP/1.1",
        b"GET / HTTP/9.9",
        b"GET /",
        b"\x16\x03\x01\x02\x00",
        b"G\x00T / HTTP/1.1",
        b"PRI * HTTP/2.0",
    ):
        yield scene.raw(line + b"\r\nHost: x\r\n\r\n")


def _streamed_json(scene: Scene) -> Iterator[Seen]:
    body = b"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\nHost: x\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    yield scene.raw(b"POST /api/v1/join HTTP/1.1\r\n" + body)
    token = f"Authorization: Bearer {scene.mallory.token}\r\n".encode()
    yield scene.raw(f"POST /api/v1/runs/{scene.run}/consent HTTP/1.1\r\n".encode() + token + body)


def _ranges(scene: Scene) -> Iterator[Seen]:
    address = f"/files/{hashlib.sha256(scene.start).hexdigest()}"
    for asked in ("bytes=99999999999-", f"bytes={len(scene.start)}-", "bytes=-0"):
        yield seen(scene.mallory.get(address, Range=asked))


def _odd_ranges(scene: Scene) -> Iterator[Seen]:
    """What is no single range is ignored, as HTTP allows: the whole file, once, or refused."""
    address = f"/files/{hashlib.sha256(scene.start).hexdigest()}"
    many = "bytes=" + ",".join(f"{i}-{i}" for i in range(500))
    for asked in (many, "bytes=0-,0-,0-,0-", "bytes=5-2", "bytes=--5", "lines=1-2", "bytes=a-b", "bytes=-99999999"):
        answer = scene.mallory.get(address, Range=asked)
        assert len(answer.content) <= len(scene.start) or answer.status_code >= 400
        yield seen(answer)


def _keys(scene: Scene) -> Iterator[Seen]:
    path = f"/federations/{scene.federation}/codes"
    key = {"Idempotency-Key": "the same key"}
    scene.person.post(path, {"member": "one"}, **key).raise_for_status()
    yield seen(scene.person.post(path, {"member": "two"}, **key))


def _odd_keys(scene: Scene) -> Iterator[Seen]:
    for key in ("", "k" * 201):
        path = f"/federations/{scene.federation}/codes"
        yield seen(scene.person.post(path, {"member": "one"}, **{"Idempotency-Key": key}))


def _guessed_codes(scene: Scene) -> Iterator[Seen]:
    for guess in range(200):
        yield seen(Device(scene.url, "guess").join(f"AAAA-BBBB-CCCC-{guess:04d}"))


def _spent_codes(scene: Scene) -> Iterator[Seen]:
    yield seen(Device(scene.url, "again").join(scene.used_code))
    old = scene.new_code("late")
    scene.sql("UPDATE join_code SET expires_at = 1 WHERE member_name = 'late'")
    yield seen(Device(scene.url, "late").join(old))


def _odd_keys_of_devices(scene: Scene) -> Iterator[Seen]:
    code = scene.new_code("odd")
    for key in ("A" * 44, "%" * 44, "", "A" * 43 + "=", 5):
        asked = {"code": code, "device_name": "pc", "public_key": key, "version": "1"}
        answer = seen(scene.mallory.post("/join", asked, token=""))
        if answer.status == 201:  # 32 zero bytes are a key of nobody's
            continue
        yield answer


def _replays(scene: Scene) -> Iterator[Seen]:
    """The same hand-in again is the same answer."""
    alice = next(iter(scene.honest.values()))
    content = honest_update(scene.start, 0)
    for _ in range(5):
        answer = alice.send(scene.run, 1, content)
        assert answer.status_code >= 400 or answer.json()["again"] is True
        yield seen(answer)


def _other_content(scene: Scene) -> Iterator[Seen]:
    alice = next(iter(scene.honest.values()))
    yield seen(alice.send(scene.run, 1, honest_update(scene.start, 8)))


def _other_protocols(scene: Scene) -> Iterator[Seen]:
    for spoken in ("0", "999", "x", "1.0"):
        yield seen(scene.mallory.get("/work", **{"FedFlow-Protocol": spoken}))


@dataclass(frozen=True)
class Attack:
    """What is tried, and the statuses that are right."""

    name: str
    statuses: frozenset[int]
    tries: Callable[[Scene], Iterator[Seen]]


def _attack(name: str, statuses: str, tries: Callable[[Scene], Iterator[Seen]]) -> Attack:
    return Attack(name, frozenset(int(status) for status in statuses.split()), tries)


BEFORE = (
    _attack("forged example counts", "400 422", _counts),
    _attack("NaN and Inf in tensors", "422", _poisoned),
    _attack("updates scaled by 10^6 and more", "422", _scaled),
    _attack("traversal in addresses and identifiers", "404 422", _traversal),
    _attack("members' names that are paths", "422", _members_names),
    _attack("a traversal name as tus metadata", "201", _metadata),
    _attack("tus metadata that is none", "400", _bad_metadata),
    _attack("uploads over the limits", "413", _oversized),
    _attack("lengths that are none", "400", _odd_lengths),
    _attack("more bytes than announced", "413", _more_than_announced),
    _attack("endless chunks", "413", _endless),
    _attack("a ninth upload", "429", _too_many_uploads),
    _attack("another round", "409", _other_rounds),
    _attack("a round that is none", "404 422", _odd_rounds),
    _attack("another run, another federation's device", "404", _wrong_run),
    _attack("another member's upload", "404", _others_uploads),
    _attack("another member's update, another federation's file", "404", _others_files),
    _attack("expired, revoked, removed members' tokens", "401", _dead_tokens),
    _attack("tokens that are none", "401", _no_tokens),
    _attack("a revoked device asks for a token", "403", _shut_out),
    _attack("a device on the coordinator's routes", "403", _persons_routes),
    _attack("a coordinator on devices' routes", "403", _devices_routes),
    _attack("forged, replayed and swapped signatures", "401", _signatures),
    _attack("signatures that are none", "422", _no_signatures),
    _attack("malformed JSON", "400", _json),
    _attack("unknown and wrong fields", "422", _unknown_fields),
    _attack("huge JSON", "413", _huge_json),
    _attack("wrong content types", "415", _types),
    _attack("wrong methods", "405", _methods),
    _attack("method override beyond tus", "400", _overrides),
    _attack("header floods", "400 431", _floods),
    _attack("an address of 20,000 characters", "414", _long_addresses),
    _attack("request smuggling shapes", "400", _smuggling),
    _attack("JSON of no announced length", "411", _streamed_json),
    _attack("ranges beyond the end", "416", _ranges),
    _attack("many, negative and odd ranges", "200 206 416", _odd_ranges),
    _attack("an idempotency key with another body", "409", _keys),
    _attack("idempotency keys that are none", "422", _odd_keys),
    _attack("200 guessed join codes", "404", _guessed_codes),
    _attack("used and expired join codes", "410", _spent_codes),
    _attack("public keys that are none", "422", _odd_keys_of_devices),
    _attack("another protocol version", "426", _other_protocols),
)
"""While the round collects updates."""

AFTER = (
    _attack("the same hand-in five times", "200", _replays),
    _attack("a second, different update", "409", _other_content),
)
"""After the first honest member has answered."""
