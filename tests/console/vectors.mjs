// Runs the vectors of PROTOCOL.md, section 14, that a client needs against the modules of the console's page.
//   node vectors.mjs PAGE VECTORS   prints one line of JSON: {file: [passed, refused]}; a difference ends it with 1

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [page, vectors] = process.argv.slice(2)
const load = (name) => import(pathToFileURL(path.join(page, name)))
const { hex, join, NONE, unhex } = await load('bytes.js')
const { TlsrtError } = await load('errors.js')
const { unpack } = await load('msgpack.js')
const wire = await load('wire.js')
const { follow, openGrant, Opening } = await load('opening.js')
const { Endpoint } = await load('endpoint.js')
const { checkAnswer, parseCode, requestMac } = await load('join_code.js')
const { checkRenewed, renewStatement } = await load('renewal.js')
const { aesKey, jobNonceOf, replyKeyOf, seal } = await load('primitives.js')

const bytes = (value) => {
  if (typeof value === 'string') return unhex(value)
  return Array.isArray(value) ? join(...value.map(bytes)) : unhex(value.repeat.repeat(value.times))
}
const plain = (value) => {
  if (value instanceof Uint8Array) return { bin: hex(value) }
  if (typeof value === 'bigint') return Number(value) // as JSON.parse reads it
  if (Array.isArray(value)) return value.map(plain)
  if (value !== null && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item)]))
  return value
}
const pkcs8 = (raw, oid) => join(unhex(`302e020100300506032b65${oid}04220420`), raw)
const x25519 = async (raw) => {
  const key = await crypto.subtle.importKey('pkcs8', pkcs8(raw, '6e'), 'X25519', true, ['deriveBits'])
  const { x } = await crypto.subtle.exportKey('jwk', key)
  return { privateKey: key, publicKey: new Uint8Array(Buffer.from(x, 'base64url')) }
}

const RUN = {
  frame: (given) => Object.fromEntries(Object.entries(wire.readFrame(bytes(given.frame))).map(([name, part]) => [name, hex(part)])),
  header: (given) => plain(wire.readHeader(bytes(given.header))),
  control(given) {
    const [name, ...fields] = wire.readControl(bytes(given.payload))
    return { name, fields: plain(fields) }
  },
  body(given) {
    const data = bytes(given.body)
    if (given.shape === 'error') return wire.readError(data)
    if (given.shape === 'count') return { count: wire.readCount(data) }
    return { value: plain(unpack(data)) }
  },
  async grant(given) {
    const grant = await openGrant({
      ephemeral: await x25519(bytes(given.ephemeral_private)), digest: bytes(given.digest), issuer: bytes(given.issuer),
      lastNumber: given.last_number, number: given.number, ciphertext: bytes(given.ciphertext), signature: bytes(given.signature),
    })
    const rights = [...grant.rights].map(([target, right]) => ({ target, ...right }))
    const { graceMs, tokenExpires, sessionEnds, proofKey, rights: _, ...same } = grant
    return plain({ ...same, grace_ms: graceMs, token_expires: tokenExpires, session_ends: sessionEnds, proof_key: proofKey, rights })
  },
  async opening(given) {
    const privateKey = await crypto.subtle.importKey('pkcs8', pkcs8(bytes(given.private_key), '70'), 'Ed25519', false, ['sign'])
    const identity = {
      install: bytes(given.install), issuer: bytes(given.issuer), issuerVersion: given.issuer_version ?? 1,
      certificate: bytes(given.certificate), privateKey,
    }
    const opening = new Opening(identity, () => x25519(bytes(given.ephemeral_private)))
    let last
    for (const [at, [name, ...fields]] of given.steps.entries()) {
      try {
        if (name === 'succession') last = { followed: await opening.follow(bytes(fields[0])), issuer_version: opening.pin.version }
        else if (name === 'challenge') {
          const [open, signature] = await opening.answer(...fields.map(bytes))
          last = { open: hex(open), signature: hex(signature) }
        } else last = { subject: (await opening.accept(fields[0], bytes(fields[1]), bytes(fields[2]))).subject }
      } catch (error) {
        if (at < given.steps.length - 1) throw new Error(`step ${at} of the case is refused: ${error.message}`)
        throw error
      }
    }
    return last
  },
  async succession(given) {
    const pin = await follow(bytes(given.install), { issuer: bytes(given.issuer), version: given.issuer_version }, bytes(given.chain))
    return { issuer: hex(pin.issuer), issuer_version: pin.version }
  },
  async recipient(given) {
    const endpoint = new Endpoint()
    for (const held of given.epochs) {
      const rights = new Map(held.rights.map(([target, mailbox, key, methods]) => [target, { mailbox, key: bytes(key), methods }]))
      endpoint.apply({ epoch: held.epoch, graceMs: 5000, session: bytes(given.session), subject: given.subject, rights }, given.now)
    }
    for (const data of given.before) await endpoint.open(bytes(data), given.now)
    const { header, body } = await endpoint.open(bytes(given.frame), given.now)
    return { kind: header.kind, src: header.src, body: hex(body) }
  },
  async enrolment(given) {
    const code = parseCode(given.code)
    const request = bytes(given.request)
    const answer = await checkAnswer(code, request, bytes(given.said), bytes(given.mac))
    return {
      id: hex(code.id), request_mac: hex(await requestMac(code, request)), name: answer.name, certificate: hex(answer.certificate),
      issuer: hex(answer.issuer), issuer_version: answer.issuerVersion, ca: hex(answer.ca),
    }
  },
  async renewal(given) {
    const statement = renewStatement(...['install', 'boot', 'session', 'request'].map((name) => bytes(given[name])))
    await checkRenewed(bytes(given.issuer), statement, bytes(given.certificate), bytes(given.signature))
    return { statement: hex(statement) }
  },
  async job(given) {
    const { session, job, call, key } = Object.fromEntries(['session', 'job', 'call', 'key'].map((name) => [name, bytes(given[name])]))
    const data = wire.jobData(session, given.target, given.method, given.deadline, job, given.when, given.missed, call)
    const proof = await seal(await aesKey(key), jobNonceOf(given.number), NONE, data)
    if (hex(proof) !== given.proof) throw new TlsrtError('rejected', 'it proves something else') // so says the authority
    return { data: hex(data) }
  },
  keys: async (given) => ({ key: hex(await replyKeyOf(...given.arguments.map(bytes))) }),
}

/** Whether a case is about what a client reads; what only loops take, a client has to refuse. */
function fateOf(operation, given, mustPass) {
  if (operation === 'keys') return given.function === 'reply_key' ? mustPass : null
  if (operation === 'control' && given.sender !== 'server') return null
  if (operation === 'job' && given.result_key) return null // the page keeps no results
  if (operation === 'body' && given.shape === 'request') return null
  if (operation === 'header' && mustPass && bytes(given.header)[2] >= 16) return false
  return mustPass
}

const counts = {}
let differences = 0
for (const name of ['frame', 'header', 'control', 'body', 'grant', 'opening', 'succession', 'recipient_client', 'enrolment', 'renewal', 'job', 'keys']) {
  const tree = JSON.parse(fs.readFileSync(path.join(vectors, `${name}.json`), 'utf8'))
  const count = (counts[name] = [0, 0])
  for (const kind of ['must_pass', 'must_fail']) {
    for (const one of tree[kind]) {
      const given = { ...tree.given, ...one.input }
      const fate = fateOf(tree.operation, given, kind === 'must_pass')
      if (fate === null) continue
      try {
        const found = await RUN[tree.operation](given)
        assert.ok(fate, 'it was taken')
        assert.deepEqual(found, one.expect)
        count[0]++
      } catch (error) {
        const isRefusal = error instanceof TlsrtError && ['rejected', 'invalid_argument'].includes(error.code)
        if (!fate && isRefusal) count[1]++
        else {
          differences++
          console.error(`${name}: ${one.name}: ${error.stack}`)
        }
      }
    }
  }
}
console.log(JSON.stringify(counts))
process.exit(differences ? 1 : 0)
