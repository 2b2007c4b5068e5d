// Enrolment by a link (section 18 of PROTOCOL.md): from a join code to an identity that is kept.
//
// A script sees no certificate of the server: the browser has judged it. What is believed here is the answer's MAC, which
// none but the authority can make: it covers our request, the issuer's key and the CA. The pin is compared as well, with
// what the server says first, so that a code for another host is not used up.

import { hex } from './bytes.js'
import { checkCertificate, makeRequest, subjectUri } from './certificate_request.js'
import { require, TlsrtError } from './errors.js'
import { loadIdentity, saveIdentity, tryToKeep, VERSION } from './identity.js'
import { checkAnswer, findPinned, packAsking, parseCode, readAnswering } from './join_code.js'
import { makeClientKeys } from './primitives.js'

export const PROTOCOL = 'tlsrt-enrol.1'
const TIMEOUT_MS = 30000
const USED = 'the host refused this link: it was used, it is older than 10 minutes, or it was not copied whole. If you have ' +
  'not used it yourself, another person may have: tell the operator, who sees all clients by `tlsrt-supervisor client list`'

/** Return the address of the host's WebSocket for the address of one of its pages. */
export function socketUrl(url) {
  const address = new URL('/tlsrt', url)
  if (address.protocol !== 'https:' && address.protocol !== 'wss:') throw new TlsrtError('invalid_argument', 'a host is reached by https alone')
  address.protocol = 'wss:'
  return address.href
}

/** Take the join code out of the address bar, at once, so that it is in no history and on no screen; null without one. */
export function takeCode(from = globalThis) {
  const code = from.location.hash.slice(1)
  if (!code) return null
  from.history.replaceState(null, '', from.location.pathname + from.location.search)
  return code
}

/** Return [payloads in turn]: `next()` resolves to the next one, or rejects when the connection ends. */
function exchange(socket) {
  const payloads = []
  let error = null
  let wake = () => {}
  const end = (why) => {
    error ??= why
    wake()
  }
  const timer = setTimeout(() => end(new TlsrtError('unavailable', 'no answer of the host in time')), TIMEOUT_MS)
  socket.binaryType = 'arraybuffer'
  socket.onmessage = ({ data }) => {
    if (!(data instanceof ArrayBuffer) || payloads.length >= 8) return end(new TlsrtError('rejected', 'the server broke the protocol: a message that has no place here'))
    payloads.push(new Uint8Array(data))
    wake()
  }
  socket.onerror = () => {}
  socket.onclose = () => end(new TlsrtError('unavailable', 'the host ended the connection before it answered: it may be locked, or have no room now; try once more in a minute'))
  return {
    async next() {
      while (!payloads.length) {
        if (error) throw error
        await new Promise((resolve) => { wake = resolve })
      }
      return readAnswering(payloads.shift())
    },
    close() {
      clearTimeout(timer)
      socket.close()
    },
  }
}

/** Enrol over an open WebSocket; resolve to the identity, which is not kept yet. */
export async function enrolOver(socket, code, { url, keys = null }) {
  const made = keys ?? (await makeClientKeys())
  const request = await makeRequest(made)
  const asking = await packAsking(code, request)
  const messages = exchange(socket)
  try {
    const [first, authorities] = await messages.next()
    if (first === 'refused') throw new TlsrtError('unavailable', 'the host takes no clients now: try again in a minute')
    require(first === 'authorities', 'a message that has no place here')
    if ((await findPinned(code, authorities)) === null)
      throw new TlsrtError('rejected', 'this is not the host that made this link: the link is not used up; check the address')
    require(socket.protocol === PROTOCOL, 'another subprotocol')
    socket.send(asking)
    const [second, said, mac] = await messages.next()
    if (second === 'refused') throw new TlsrtError('denied', USED)
    require(second === 'enrolled', 'a message that has no place here')
    const answer = await checkAnswer(code, request, said, mac)
    await checkCertificate(answer.certificate, made.publicKey, subjectUri(hex(answer.install), answer.name))
    return { version: VERSION, url, ...answer, privateKey: made.privateKey, publicKey: made.publicKey, enrolledAt: Date.now() }
  } finally {
    messages.close()
  }
}

/** Enrol this browser at the host of `url` and keep what it is from now on. Throws TlsrtError. */
export async function enrol({ url, code, replace = false }) {
  const parsed = parseCode(code)
  if (!replace && (await loadIdentity()) !== null)
    throw new TlsrtError('conflict', 'this browser is enrolled already: forget that first, and the link is not used up')
  const keys = await makeClientKeys()
  await tryToKeep(keys.privateKey)
  const identity = await enrolOver(new WebSocket(socketUrl(url), PROTOCOL), parsed, { url: socketUrl(url), keys })
  await saveIdentity(identity, replace)
  return identity
}
