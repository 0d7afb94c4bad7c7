// A party of the bus in another language: signs what a system signs and checks what others signed, by Node's `jose` alone.
// Reads a list of tasks as JSON from standard input, prints the list of answers; a task that fails answers {"error": its words}.
import { createHash } from "node:crypto";
import { text } from "node:stream/consumers";
import { calculateJwkThumbprint, CompactSign, compactVerify, importJWK } from "jose";

const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const hashOf = (data) => `sha-256:${sha256(data).toString("base64url")}`;
const leafOf = (item) => sha256(Buffer.of(0), Buffer.from(item));
const nodeOf = (left, right) => sha256(Buffer.of(1), left, right);

async function sign({ typ, alg, key }, payload) {
  const header = { alg, kid: await calculateJwkThumbprint(key), typ };
  return new CompactSign(Buffer.from(JSON.stringify(payload))).setProtectedHeader(header).sign(await importJWK(key, alg));
}

async function open({ typ, alg, key }, compact) {
  const { payload, protectedHeader } = await compactVerify(compact, await importJWK(key, alg), { algorithms: [alg] });
  const wanted = JSON.stringify({ alg, kid: await calculateJwkThumbprint(key), typ });
  if (JSON.stringify(protectedHeader) !== wanted) throw new Error("another header");
  return JSON.parse(Buffer.from(payload).toString());
}

function rootOver({ item, pos, path }, size) { // RFC 9162 section 2.1.3.2
  let [place, last, hash] = [pos, size - 1, leafOf(item)];
  if (place > last) throw new Error("no such place");
  for (const step of path.map((each) => Buffer.from(each, "base64url"))) {
    if (last === 0) throw new Error("the path is too long");
    if (place % 2 === 1 || place === last) {
      hash = nodeOf(step, hash);
      for (; place % 2 === 0 && place !== 0; place >>= 1) last >>= 1;
    } else {
      hash = nodeOf(hash, step);
    }
    place >>= 1;
    last >>= 1;
  }
  if (last !== 0) throw new Error("the path is too short");
  return `sha-256:${hash.toString("base64url")}`;
}

const tasks = {
  async envelope({ signer, attributes, body }) {
    const data = Buffer.from(body);
    return { compact: await sign(signer, { ...attributes, datahash: hashOf(data), datasize: data.length }) };
  },
  async auth({ signer, claims, body }) {
    return { compact: await sign(signer, { ...claims, hash: hashOf(Buffer.from(body)) }) };
  },
  async ack({ signer, head, item }) {
    const root = `sha-256:${leafOf(item).toString("base64url")}`;
    return { jws: await sign(signer, { ...head, size: 1, root }), item, pos: 0, path: [] };
  },
  async manifest({ signer, compact, body }) {
    const manifest = await open(signer, compact);
    if (manifest.datahash !== hashOf(Buffer.from(body))) throw new Error("another body");
    return manifest;
  },
  async item({ signer, statement }) {
    const batch = await open(signer, statement.jws);
    if (batch.root !== rootOver(statement, batch.size)) throw new Error("not under the signed root");
    return { ...batch, ...JSON.parse(statement.item) };
  },
};

const answers = [];
for (const { task, ...given } of JSON.parse(await text(process.stdin))) {
  answers.push(await tasks[task](given).catch((error) => ({ error: error.message })));
}
process.stdout.write(JSON.stringify(answers));
