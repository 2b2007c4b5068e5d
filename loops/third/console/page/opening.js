// Opening a session and keeping it (section 4 of PROTOCOL.md): what the client signs, whose grants it takes, and which
// issuer key follows which. No socket and no clock.

import { domain, join, readU32, same, u64 } from './bytes.js'
import { require } from './errors.js'
import { pack, unpackShape } from './msgpack.js'
import { hpkeOpen, isSigned, makeEphemeral, sha256, sign } from './primitives.js'
import { isBin, isInt, isStr, NAME_MAX } from './wire.js'

const STATEMENT = 104
const CHAIN_MAX = 16
const RIGHTS_MAX = 1024
const METHODS_MAX = 256

/** Return the pin that a chain leads to from `pin`, {issuer, version}: the same object if it says nothing. */
export async function follow(install, pin, chain) {
  require(chain.length > 0 && chain.length % STATEMENT === 0 && chain.length <= CHAIN_MAX * STATEMENT, 'a chain of an impossible length')
  const statements = []
  for (let at = 0; at < chain.length; at += STATEMENT) {
    const version = readU32(chain, at)
    const next = readU32(chain, at + 4)
    require(version >= 1 && next === version + 1, 'a chain whose versions do not rise by one')
    require(at === 0 || readU32(chain, at - STATEMENT + 4) === version, 'a chain with a gap')
    statements.push({ version, next, said: chain.slice(at, at + 40), signature: chain.slice(at + 40, at + STATEMENT) })
  }
  let found = pin
  for (const { version, next, said, signature } of statements) {
    if (version !== found.version) continue
    require(await isSigned(found.issuer, signature, domain('tlsrt/succession/v1'), install, said), 'a succession that the issuer did not sign')
    found = { issuer: said.slice(8), version: next }
  }
  return found
}

/** Return the content of a genuine grant for the open of that digest. The signature comes first. */
export async function openGrant({ ephemeral, digest, issuer, lastNumber, number, ciphertext, signature }) {
  const info = join(domain('tlsrt/grant/v1'), digest)
  require(number >= 1 && (await isSigned(issuer, signature, info, u64(number), ciphertext)), 'a grant that the issuer did not sign')
  require(number > lastNumber, 'a grant that is not newer')
  return readGrant(unpackShape(await hpkeOpen(ephemeral, ciphertext, info)))
}

function readGrant(fields) {
  require(Array.isArray(fields) && fields.length === 14 && fields[0] === 1, 'a grant of another shape')
  const [, now, install, boot, epoch, graceMs, session, subject, token, tokenExpires, sessionEnds, gate, proofKey, listed] = fields
  const numbers = [now, epoch, graceMs, tokenExpires, sessionEnds, gate]
  require(numbers.every((value) => isInt(value)), 'a number of a grant out of its range')
  require([install, boot, session].every((id) => isBin(id, 16)) && isBin(proofKey, 32), 'an id or key of a grant of another length')
  require(isStr(subject, 1, NAME_MAX) && isBin(token, 1, 16384), 'a subject or token of a grant that does not fit')
  require(Array.isArray(listed) && listed.length <= RIGHTS_MAX, 'a grant with too many rights')
  const rights = new Map(listed.map(readRight))
  require(rights.size === listed.length, 'a grant with a target twice')
  return { now, install, boot, epoch, graceMs, session, subject, token, tokenExpires, sessionEnds, gate, proofKey, rights }
}

function readRight(item) {
  require(Array.isArray(item) && item.length === 4, 'a right of another shape')
  const [target, mailbox, key, methods] = item
  require(isStr(target, 1, NAME_MAX) && isInt(mailbox) && isBin(key, 32), 'a right that does not fit')
  const areNames = Array.isArray(methods) && methods.length <= METHODS_MAX && methods.every((name) => isStr(name, 1, NAME_MAX))
  require(areNames, 'a right with methods that do not fit')
  return [target, { mailbox, key, methods }]
}

/** One session being opened and kept. `identity` is {install, issuer, issuerVersion, certificate, privateKey}. */
export class Opening {
  #identity
  #ephemeral
  #digest = null
  #boot = null
  #lastNumber = 0
  #first = null
  #makeEphemeral

  constructor(identity, makePair = makeEphemeral) {
    this.#identity = identity
    this.#makeEphemeral = makePair
    this.pin = { issuer: identity.issuer, version: identity.issuerVersion }
  }

  /** The boot id of the challenge, once there was one. */
  get boot() {
    return this.#boot
  }

  /** Return [open, signature] for the one challenge of a connection. */
  async answer(install, boot, challenge) {
    require(this.#boot === null, 'a second challenge')
    require(same(install, this.#identity.install), 'a challenge of another host')
    this.#boot = boot
    this.#ephemeral = await this.#makeEphemeral()
    const open = pack([1, install, boot, challenge, this.#identity.certificate, this.#ephemeral.publicKey])
    this.#digest = await sha256(open)
    return [open, await sign(this.#identity.privateKey, join(domain('tlsrt/open/v1'), open))]
  }

  /** Take the issuer key that follows ours, if the chain has one; return whether it did. */
  async follow(chain) {
    require(this.#digest !== null, 'a succession before the challenge')
    const before = this.pin
    this.pin = await follow(this.#identity.install, before, chain)
    return this.pin !== before
  }

  /** Return the content of the first or a later grant. */
  async accept(number, ciphertext, signature) {
    require(this.#digest !== null, 'a grant before the open')
    const grant = await openGrant({
      ephemeral: this.#ephemeral, digest: this.#digest, issuer: this.pin.issuer, lastNumber: this.#lastNumber,
      number, ciphertext, signature,
    })
    require(same(grant.install, this.#identity.install) && same(grant.boot, this.#boot), 'a grant of another host')
    const first = (this.#first ??= grant)
    require(same(grant.session, first.session) && grant.subject === first.subject, 'a grant of another session')
    this.#lastNumber = number
    return grant
  }
}
