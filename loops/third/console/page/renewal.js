// Another certificate for a client that has a session (section 18 of PROTOCOL.md). Its key is a new one.

import { checkCertificate, makeRequest, readCertificate, subjectUri } from './certificate_request.js'
import { domain, hex, join } from './bytes.js'
import { require } from './errors.js'
import { isSigned, makeClientKeys, sha256, sign } from './primitives.js'

const SHARE = 2 / 3 // of its life, after which a certificate is renewed
const JITTER = 0.05 // of its life, to either side
const RETRY_LEAST_MS = 60000

/** Return in how many ms a certificate, DER, is to be renewed; `chance` is 0 to 1. */
export function dueInMs(certificate, now, chance) {
  const { begins, ends } = readCertificate(certificate)
  return Math.max(0, (ends - begins) * (SHARE + JITTER * (2 * chance - 1)) - (now - begins))
}

/** Return in how many ms a renewal that failed is tried again: after a tenth of what is left. */
export const retryInMs = (certificate, now) => Math.max(RETRY_LEAST_MS, (readCertificate(certificate).ends - now) / 10)

/** What a client signs to get another certificate. */
export const renewStatement = (install, boot, session, request) => join(domain('tlsrt/renew/v1'), install, boot, session, request)

/** Throw TlsrtError (rejected) unless the issuer signed this certificate as the answer to that statement. */
export async function checkRenewed(issuer, statement, certificate, signature) {
  const isGenuine = await isSigned(issuer, signature, domain('tlsrt/renewed/v1'), await sha256(statement), certificate)
  require(isGenuine, 'a certificate that the issuer did not sign')
}

/** One renewal, from the request to the answer. */
export class Renewing {
  #identity
  #keys
  #statement

  /** Return it with the `request` and `signature` that are sent. */
  static async begin(identity, boot, session) {
    const made = new Renewing()
    made.#identity = identity
    made.#keys = await makeClientKeys()
    made.request = await makeRequest(made.#keys)
    made.#statement = renewStatement(identity.install, boot, session, made.request)
    made.signature = await sign(identity.privateKey, made.#statement)
    return made
  }

  /** Return {certificate, privateKey, publicKey}, to be written before it is used. */
  async accept(issuer, certificate, signature) {
    await checkRenewed(issuer, this.#statement, certificate, signature)
    await checkCertificate(certificate, this.#keys.publicKey, subjectUri(hex(this.#identity.install), this.#identity.name))
    return { certificate, privateKey: this.#keys.privateKey, publicKey: this.#keys.publicKey }
  }
}
