"""Check a bundle of evidence, as protocol.md says, without this project: python verify_evidence.py evidence.json trust.json."""

import base64
import hashlib
import json
import re
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256

HEADER = re.compile(rb'\{"alg":"(Ed25519|ES256)","kid":"([A-Za-z0-9_-]{43})","typ":"(lgsp-[a-z]{3,8}\.v1\+jws)"\}')
LISTS = {"purpose": "purposes", "legalbasis": "legalbases", "procedure": "procedures", "authid": "officers"}


def need(holds, words):
    if not holds:
        raise ValueError(words)


def unb64u(text):
    data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    need(base64.urlsafe_b64encode(data).rstrip(b"=").decode() == text, "not canonical base64url")
    return data


def hash_of(data):
    return "sha-256:" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def strict(data):
    def once(pairs):
        need(len(dict(pairs)) == len(pairs), "a name stands twice")
        return dict(pairs)

    value = json.loads(data.decode("utf-8"), object_pairs_hook=once)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")  # no NaN, no lone surrogate
    return value


def shaped(value, *names, optional=None):
    need(type(value) is dict and value.keys() - {optional} == set(names), f"not an object of exactly {names}")
    kinds = dict.fromkeys(("pos", "index", "version"), int) | dict.fromkeys(
        ("path", "acks", "records", "entries"), list
    )
    need(all(type(value[name]) is kinds.get(name, type(value[name])) for name in value), "a member of another type")
    return [value[name] for name in names]


def root_over(computed, index, size, path):
    """Return the root that a path leads to from a leaf hash, by the definition of the tree (RFC 9162, 2.1)."""
    if size == 1 and not path:
        return computed
    half, step = 1 << (size - 1).bit_length() - 1, unb64u(path[-1])
    below = root_over(computed, index % half, half if index < half else size - half, path[:-1])
    return hashlib.sha256(b"\x01" + (below + step if index < half else step + below)).digest()


def stands(text, index, size, path, root):
    leaf = hashlib.sha256(b"\x00" + text.encode()).digest()
    need(0 <= index < size and root_over(leaf, index, size, path) == root, f"number {index} is not under the root")


def signed(compact, typ, key_of):
    """Return payload and key record of a compact JWS (section 2)."""
    header, payload, signature = map(unb64u, compact.split("."))
    found = HEADER.fullmatch(header)
    need(found and found[3].decode() == typ and len(signature) == 64, "not a header of the protocol")
    key, data = key_of(found[2].decode()), compact.rpartition(".")[0].encode()
    jwk = {name: key["jwk"][name] for name in ("crv", "kty", "x", "y") if name in key["jwk"]}
    thumbprint = hash_of(json.dumps(jwk, separators=(",", ":")).encode())[8:]
    alg = b"ES256" if jwk["crv"] == "P-256" else b"Ed25519"
    need((alg, thumbprint.encode()) == found.group(1, 2), "signed by another key than is named")
    if jwk["crv"] == "Ed25519":
        ed25519.Ed25519PublicKey.from_public_bytes(unb64u(jwk["x"])).verify(signature, data)
    else:
        x, y, r, s = map(int.from_bytes, (unb64u(jwk["x"]), unb64u(jwk["y"]), signature[:32], signature[32:]))
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        public.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
    return strict(payload), key


def item_of(statement, typ, key_of):
    """Return payload and item of a statement in a batch (section 3)."""
    compact, item, pos, path = shaped(statement, "jws", "item", "pos", "path")
    payload, key = signed(compact, typ, key_of)
    stands(item, pos, payload["size"], path, unb64u(payload["root"][8:]))
    need(payload["iss"] == key["owner"], "it names another than the owner of its key")
    return payload, strict(item.encode())


def check_line(note, vkey):
    """Check the one signature line of a key under a C2SP note: kind 1 is the log's, kind 4 a witness's with its time (section 7)."""
    (name, _, encoded), (body, _, lines), found = vkey.split("+", 2), note.rpartition("\n\n"), []
    key = base64.b64decode(encoded)
    for line in lines.removesuffix("\n").split("\n"):
        dash, signer, encoded = line.split(" ")
        data = base64.b64decode(encoded, validate=True)
        need(dash == "\u2014" and base64.b64encode(data).decode() == encoded, "not a signature line")
        is_its = signer == name and data[:4] == hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
        found += [data[4:]] if is_its else []
    need(len(found) == 1 and lines.endswith("\n"), f"{name} has not signed the checkpoint once")
    stamp = b"cosignature/v1\ntime %d\n" % int.from_bytes(found[0][:8]) if key[0] == 4 else b""
    signature = found[0][8:] if key[0] == 4 else found[0]
    ed25519.Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature, stamp + body.encode() + b"\n")


class Excerpt:
    """Some records of one version of the directory, each under the registrar's signature (section 3)."""

    def __init__(self, excerpt, trust):
        statement, placed = shaped(excerpt, "statement", "records")
        said, _ = signed(statement, "lgsp-dir.v1+jws", lambda _kid: {"jwk": trust["registrar"]})
        need(said["bus"] == trust["bus"], "another bus's directory")
        self.version, self.at, self.records = said["version"], datetime.fromisoformat(said["ts"]), {}
        for each in placed:
            pos, text, path = shaped(each, "pos", "record", "path")
            stands(text, pos, said["size"], path, unb64u(said["root"][8:]))
            record = strict(text.encode())
            need((record["kind"], record["id"]) not in self.records, "a record stands twice")
            self.records[record["kind"], record["id"]] = record

    def held(self, kind):
        found = [each for each in self.records.values() if each["kind"] == kind and each["since"] <= self.version]
        return [each for each in found if self.version < each.get("until", 2**63)]

    def key(self, kid, role):
        key = self.records["key", kid]
        need(key in self.held("key") and key["role"] == role, "the key is not valid, or of another role")
        return key

    def stands_for(self, system, principal, type_):
        used = [one for one in self.held("delegation") if (one["bridge"], one["principal"]) == (system, principal)]
        forms = [pattern.replace(".", r"\.").replace("*", ".*") for each in used for pattern in each["types"]]
        return system == principal or any(re.fullmatch(form, type_) for form in forms)

    def receives(self, system, audience, type_):
        """Tell whether a system may take what is addressed so, for itself or as a bridge (section 5)."""
        names = [system, *(each["principal"] for each in self.held("delegation"))]
        own = {urn for name in names if self.stands_for(system, name, type_) for urn in (name, agency_of(name))}
        heirs = self.records.get(("agency", agency_of(audience)), {}).get("successors", [])
        topics = [f"urn:lgsp:topic:{each['type']}" for each in self.held("subscription") if each["subscriber"] in own]
        return audience in own or audience in topics or not own.isdisjoint(heirs)


def agency_of(urn):
    return urn.partition(":sys:")[0] if urn.startswith("urn:lgsp:agency:") else ""


def check_part(part, entries, versions, trust, asked):
    """Yield the name of each check before it is made; return what a reply's checks need to know of its request."""
    yield "envelope"
    compact, receipt, acks = shaped(part, "envelope", "receipt", "acks", optional="body")
    env, held = hash_of(compact.encode()), versions[strict(unb64u(receipt["jws"].split(".")[1]))["policy"]]
    manifest, key = signed(compact, "lgsp-env.v1+jws", lambda kid: held.key(kid, "system"))
    source, audience, type_ = manifest["source"], manifest["audience"], manifest["type"]
    yield "sender"
    need(held.stands_for(key["owner"], source, type_), "the key may not sign for the source")
    yield "body"
    need("body" not in part or hash_of(unb64u(part["body"])) == manifest["datahash"], "another body than was signed")
    yield "receipt"
    said, item = item_of(receipt, "lgsp-rcpt.v1+jws", lambda kid: held.key(kid, "gateway"))
    logs = (trust["log"].split("+")[0], held.records.get(("bus", trust["bus"]), {}).get("log"))
    need(said["log"] in logs and said["iss"].startswith(trust["bus"] + ":gw:"), "another bus's")
    wanted = {"env": env, "id": manifest["id"], "src": source, "aud": audience}
    need({**item, **wanted, "outcome": "accepted"} == item, "another envelope's receipt, or a refusal's")
    yield "entry"
    [(text, entry)] = [each for each in entries if each[1]["ev"] == "msg.accepted" and each[1]["env"] == env]
    at, leaf = datetime.fromisoformat(entry["ts"]), hash_of(b"\x00" + text.encode())
    need((item["index"], item["leaf"]) == (entry["seq"], leaf), "the receipt states another entry")
    wanted |= {"bus": said["iss"], "type": type_, "kid": key["id"], "schema": manifest["dataschema"]}
    wanted |= {"policy": held.version, "purpose": manifest.get("purpose"), "cause": asked["env"] if asked else None}
    need({name: entry.get(name) for name in wanted} == wanted, "the log states something else than was signed")
    yield "leave"
    service = held.records["service", type_.replace(".reply.v", ".v")]
    need(manifest["dataschema"] in service.get("reply_schemas" if asked else "schemas", []), "not the service's schema")
    for system in (source, key["owner"]):
        need(held.records["system", system].get("status") != "suspended", f"{system} is suspended")
    if asked:
        need((audience, manifest["causationid"], type_, entry.get("rule")) == asked["names"], "it answers another one")
        need(held.receives(source, *asked["sent"]) and at <= asked["until"], "late, or not from where it was asked")
    else:
        days = [f"{when.astimezone(timezone(timedelta(hours=7))):%Y-%m-%d}" for when in (at - timedelta(minutes=1), at)]
        agency, grant = held.records["agency", agency_of(source)], held.records["grant", entry["rule"]]
        fits = [grant["grantee"] in (source, agency_of(source)), grant["audience"] in (audience, agency_of(audience))]
        fits += [grant in held.held("grant"), grant["type"] == type_]
        fits += [agency.get("valid_from", "") <= days[0] <= agency.get("valid_to", "9")]
        fits += [any(grant.get("valid_from", "") <= day <= grant.get("valid_to", "9") for day in days)]
        fits += [name in manifest for name in service.get("requires", [])]
        fits += [manifest[name] in grant.get(LISTS[name], []) for name in LISTS if name in manifest]
        need(all(fits), "the grant does not allow it")
    yield "ack"
    logged = {each["stmt"]: each for _, each in entries if each["env"] == env and "stmt" in each}
    for acked in acks:
        version, ack = shaped(acked, "version", "ack")
        word, item = item_of(ack, "lgsp-ack.v1+jws", lambda kid, under=versions[version]: under.key(kid, "system"))
        told = logged.pop(hash_of(b"\x00" + ack["item"].encode()))
        end = item.get("code") or {"accepted": None, "rejected": "rejected"}[item["outcome"]]
        need((item["env"], told["to"], told.get("code")) == (env, word["iss"], end), "the log says something else")
        need(held.receives(word["iss"], audience, type_), "the ack is by nobody who may receive it")
        is_later = version > held.version and versions[version].at <= datetime.fromisoformat(told["ts"])
        need(version == held.version or is_later, "the ack is judged by a version of another time")
    need(not logged, "the log names an ack that is not there")
    names = (source, manifest["id"], re.sub(r"\.v(\d+)$", r".reply.v\1", type_), None)
    until = at + timedelta(seconds=service.get("reply_within", 60))
    return {"env": env, "names": names, "sent": (audience, type_), "until": until}


def check(data, trust):
    """Yield the name of each check before it is made; whatever a check raises is why it does not hold."""
    yield "form"
    bundle = strict(data)
    shaped(bundle, "form", "bus", "checkpoint", "directories", "entries", "message", optional="reply")
    need(bundle["form"] == "lgsp-evidence.v1", "another form")
    yield "bus"
    need(bundle["bus"] == trust["bus"], "another bus's")
    yield "directory"
    excerpts = [Excerpt(each, trust) for each in bundle["directories"]]
    versions = {each.version: each for each in excerpts}
    need(len(versions) == len(excerpts), "a version stands twice")
    yield "checkpoint"
    for vkey in [trust["log"], *trust.get("witnesses", [])]:
        check_line(bundle["checkpoint"], vkey)
    origin, size, root = bundle["checkpoint"].partition("\n\n")[0].split("\n")
    need(origin == trust["log"].split("+")[0], "another log's")
    yield "log"
    entries, parts, asked = [], [bundle[name] for name in ("message", "reply") if name in bundle], None
    envs = [hash_of(part["envelope"].encode()) for part in parts]
    for each in bundle["entries"]:
        index, text, path = shaped(each, "index", "entry", "path")
        stands(text, index, int(size), path, base64.b64decode(root))
        entry = strict(text.encode())
        is_next = entry["seq"] == index and (not entries or entries[-1][1]["seq"] < index)
        need(is_next and entry["env"] in envs, f"entry {index} is of something else")
        entries.append((text, entry))
    for part in parts:
        asked = yield from check_part(part, entries, versions, trust, asked)


if __name__ == "__main__":
    step = "files"
    try:
        for step in check(Path(sys.argv[1]).read_bytes(), strict(Path(sys.argv[2]).read_bytes())):
            print("checking", step)
    except Exception as error:
        print(f"FAILED {step}: {error or type(error).__name__}")
        sys.exit(3)
    print("every check holds")
