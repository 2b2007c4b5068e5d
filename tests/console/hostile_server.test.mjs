// What a server may do to the console's client, and what becomes of it: nothing that it says wrongly is taken.

import assert from 'node:assert/strict'
import { test as run } from 'node:test'
import { bytes, hex, Host, join, load, makeIssuer, NONE, pack, random, rawPublic, Wire } from './host.mjs'

const { connect } = await load('client.js')
const { Session } = await load('session.js')

/** A test that waits for what does not come fails by its name. */
const test = (name, work) => run(name, { timeout: 10_000 }, work)
const keeperOf = () => ({ pins: [], load: async () => null, savePin: async function (install, pin) { this.pins.push(pin) }, saveCertificate: async () => true })

async function begin(host, change = {}) {
  const keeper = keeperOf()
  const identity = { ...(await host.identity()), ...change }
  const client = await connect(identity, { open: () => new Wire(host), keeper })
  return { client, keeper, wire: host.wires.at(-1) }
}

/** Open a session alone, and return what it ended with. */
async function endOf(host, during = () => {}) {
  const identity = await host.identity()
  const wire = new Wire(host)
  let session
  const error = await new Promise((resolve) => {
    session = new Session(wire, identity, { pinned: async () => {}, granted: (opened, isFirst) => isFirst && during(wire, opened), ended: resolve })
  })
  assert.ok(wire.isClosed)
  assert.equal(session.ended, error)
  return error
}

const closes = (name, during, word = /broke the protocol/) => test(name, async () => {
  const host = new Host()
  const error = await endOf(host, (wire, session) => during(host, wire, session))
  assert.equal(error.code, 'rejected', error.message)
  assert.match(error.message, word)
})

/** A host whose answer to `open` is this. */
const opens = (name, answer, word) => test(name, async () => {
  const host = new Host()
  const granted = host.granted
  let isAsked = false
  host.granted = function (...words) {
    if (isAsked) return granted.apply(this, words)
    isAsked = true
    return answer(this, (more) => granted.call(this, more))
  }
  const error = await endOf(host)
  assert.equal(error.code, 'rejected', error.message)
  assert.match(error.message, word)
})

// -- the opening -----------------------------------------------------------------------------------------------------

opens('a grant of another issuer', (host, granted) => granted({ issuer: makeIssuer() }), /issuer did not sign/)
opens('a grant of number 0', (host, granted) => granted({ number: 0 }), /issuer did not sign/)
opens('a grant for another open', (host, granted) => granted({ digest: random(32) }), /issuer did not sign/)
opens('a grant of 13 fields', (host, granted) => granted({ change: (plain) => join(Uint8Array.of(0x9d), plain.subarray(1, -1)) }), /broke the protocol/)
opens('a grant of another install', (host, granted) => granted({ fields: { install: random(16) } }), /another host/)
opens('a grant of another boot', (host, granted) => granted({ fields: { boot: random(16) } }), /another host/)
opens('a grant with a target twice', (host, granted) => granted({ fields: { rights: [['a/b', 1, bytes(32), []], ['a/b', 2, bytes(32), []]] } }), /target twice/)
opens('a key of 31 bytes', (host, granted) => granted({ fields: { rights: [['a/b', 1, bytes(31), []]] } }), /right that does not fit/)
opens('a method as bytes', (host, granted) => granted({ fields: { rights: [['a/b', 1, bytes(32), [bytes(3)]]] } }), /methods that do not fit/)
opens('257 methods', (host, granted) => granted({ fields: { rights: [['a/b', 1, bytes(32), Array(257).fill('m')]] } }), /methods that do not fit/)
opens('a token of no bytes', (host, granted) => granted({ fields: { token: NONE } }), /does not fit/)
opens('a time that is a float', (host, granted) => granted({ fields: { now: 1.5 } }), /float/)
opens('a frame before the grant', (host) => host.frame({ dst: 'secondary/store', src: 'client/tab', mailbox: 2, method: 'get', epoch: 7, session: host.session, seq: 1, kind: 1 }, 2, pack(1)), /before the grant/)
opens('a second challenge', (host) => host.challenge(), /second challenge/)
opens('locked after the challenge', (host) => pack(['locked', host.install, host.boot, random(16)]), /no place here/)
opens('another certificate that nobody asked for', () => pack(['renewed', bytes(100), bytes(64)]), /no place here/)
opens('an unknown message', () => pack(['hello']), /no place here/)
opens('open from the server', () => pack(['open', bytes(5), bytes(5)]), /no place here/)
opens('a name of Object', () => pack(['constructor']), /no place here/)
opens('a control message of 46081 bytes', () => bytes(46081, 0x90), /too long/)
opens('a payload of 279105 bytes', () => bytes(279105, 0x94), /impossible length/)
opens('a payload of no bytes', () => NONE, /impossible length/)
opens('a text', () => 'goodbye', /a text/)
opens('a chain of 103 bytes', () => pack(['succession', bytes(103)]), /does not fit/)
opens('a chain that is none', () => pack(['succession', bytes(104)]), /do not rise/)
opens('a successor by a stranger', (host) => pack(['succession', host.successor(makeIssuer(), 1, makeIssuer())]), /issuer did not sign/)
opens('a successor at another host', (host) => pack(['succession', host.successor(makeIssuer(), 1, host.issuer, random(16))]), /issuer did not sign/)

for (const [name, what, word] of [
  ['a challenge of another install', (host) => pack(['challenge', random(16), host.boot, random(32), 1]), /another host/],
  ['a succession first', (host) => pack(['succession', host.successor(makeIssuer())]), /before the challenge/],
  ['a grant first', () => pack(['granted', 1, bytes(80), bytes(64)]), /before the open/],
]) {
  test(name, async () => {
    const host = new Host()
    host.welcome = (wire) => wire.say(what(host))
    const error = await endOf(host)
    assert.equal(error.code, 'rejected')
    assert.match(error.message, word)
  })
}

test('another subprotocol', async () => {
  const host = new Host()
  host.welcome = () => {}
  const identity = await host.identity()
  const wire = new Wire(host)
  wire.protocol = ''
  const error = await new Promise((ended) => new Session(wire, identity, { ended }))
  assert.match(error.message, /another subprotocol/)
})

closes('the same grant again', async (host, wire) => wire.say(host.granted({ number: 1 })), /not newer/)
closes('a push of another session', async (host, wire) => wire.say(host.granted({ fields: { session: random(16) } })), /another session/)
closes('a push to another subject', async (host, wire) => wire.say(host.granted({ fields: { subject: 'client/other' } })), /another session/)
closes('a grant by the issuer before', async (host, wire) => {
  wire.say(pack(['succession', host.successor(makeIssuer())]))
  wire.say(host.granted())
}, /issuer did not sign/)
closes('a frame of five parts', (host, wire) => wire.say(pack([NONE, NONE, NONE, NONE, NONE]).map((byte, at) => (at ? byte : 0x94))))
closes('forged answers without end', async (host, wire) => {
  const request = { src: 'client/tab', dst: 'secondary/store', mailbox: 2, method: 'get', epoch: 7, kind: 1, session: host.session, seq: 1 }
  for (let at = 0; at < 300; at++) wire.say(host.frame(request, 2, pack(1), { key: random(32) }))
})

test('a new issuer is followed, and kept before its grant is taken', async () => {
  const host = new Host()
  const { client, keeper, wire } = await begin(host)
  const next = makeIssuer()
  wire.say(pack(['succession', host.successor(next)]))
  host.issuer = next
  wire.say(host.granted({ fields: { epoch: 8, rights: [['secondary/store', 2, host.requestKey, ['get']]] } }))
  await new Promise((resolve) => client.addEventListener('rights', resolve, { once: true }))
  assert.deepEqual(keeper.pins.map(({ version, issuer }) => [version, hex(issuer)]), [[2, hex(rawPublic(next))]])
  client.close()
})

// -- answers ---------------------------------------------------------------------------------------------------------

/** Answer a call by this, which must not count, and then by what counts. */
const drops = (name, make) => test(name, async () => {
  const host = new Host()
  host.answer = (wire, request) => {
    wire.say(make(host, request))
    wire.say(host.frame(request, 2, pack('genuine'), { seq: 100 }))
  }
  const { client } = await begin(host)
  assert.equal(await client.call('secondary/store', 'get', ['a']), 'genuine')
  client.close()
})

/** Answer a call by this, whose shape is no accident. */
const ends = (name, make) => test(name, async () => {
  const host = new Host()
  host.answer = (wire, request) => wire.say(make(host, request))
  const { client, wire } = await begin(host)
  await assert.rejects(client.call('secondary/store', 'get', ['a']), { code: 'outcome_unknown' })
  assert.ok(wire.isClosed)
  client.close()
})

const forged = pack('forged')
drops('an answer whose body does not open', (host, request) => host.frame(request, 2, forged, { key: random(32) }))
drops('an answer by the request key', (host, request) => host.frame(request, 2, forged, { key: host.requestKey }))
drops('an answer of another target', (host, request) => host.frame(request, 2, forged, { src: 'secondary/other' }))
drops('an answer of another mailbox', (host, request) => host.frame(request, 2, forged, { mailbox: 3 }))
drops('an answer about another method', (host, request) => host.frame(request, 2, forged, { method: 'put' }))
drops('an answer to somebody else', (host, request) => host.frame(request, 2, forged, { dst: 'client/other' }))
drops('an answer of another epoch', (host, request) => host.frame(request, 2, forged, { epoch: 8 }))
drops('an answer about another session', (host, request) => host.frame(request, 2, forged, { correlation: join(random(16), request.correlation, bytes(8, 0)) }))
drops('an answer about no call', (host, request) => host.frame(request, 2, forged, { correlation: join(host.session, bytes(8, 0)) }))
drops('an answer about nothing', (host, request) => host.frame(request, 2, forged, { correlation: NONE }))
drops('an answer past its deadline', (host, request) => host.frame(request, 2, forged, { deadline: host.now - 1000 }))
drops('an answer whose deadline is too far', (host, request) => host.frame(request, 2, forged, { deadline: host.now + 400_000 }))
drops('a request', (host, request) => host.frame(request, 1, forged))
drops('a cancel', (host, request) => host.frame(request, 5, NONE))
drops('a credit', (host, request) => host.frame(request, 6, pack(1)))
drops('a part', (host, request) => host.frame(request, 7, forged))
ends('a bundle', (host, request) => host.frame(request, 17, pack([1, 2]), { part: 2 }))
drops('an item of what is no stream', (host, request) => host.frame(request, 3, forged))
drops('an allowance for what is no upload', (host, request) => host.frame(request, 9, pack(5)))
drops('a reply that ends a stream', (host, request) => host.frame(request, 2, forged, { flags: 1 }))
drops('a refusal about another session', (host, request) => host.refusal(request, 'busy', { correlation: join(random(16), bytes(8, 0)) }))
drops('a refusal of 33 bytes', (host, request) => host.refusal(request, 'b'.repeat(33)))
ends('a header of version 2', (host, request) => host.frame(request, 2, forged, { version: 2 }))

test('the same answer twice, and an older one', async () => {
  const host = new Host()
  const held = []
  host.answer = (wire, request) => {
    held.push(host.frame(request, 2, pack(held.length)))
    if (held.length === 2) [held[1], held[1], held[0]].forEach((frame) => wire.say(frame))
  }
  const { client } = await begin(host)
  const first = client.call('secondary/store', 'get', ['a'], { timeoutMs: 500 })
  const second = client.call('secondary/store', 'get', ['b'])
  await assert.rejects(first, { code: 'deadline' })
  assert.equal(await second, 1)
  client.close()
})

for (const [name, plain] of [['two values', Uint8Array.of(1, 2)], ['an extension', Uint8Array.of(0xd4, 1, 2)], ['33 lists in each other', join(bytes(32, 0x91), Uint8Array.of(0x90))]]) {
  test(`a reply of ${name} ends its call alone`, async () => {
    const host = new Host()
    host.answer = (wire, request) => wire.say(host.frame(request, 2, request.value[0][0] ? plain : pack('well')))
    const { client } = await begin(host)
    await assert.rejects(client.call('secondary/store', 'get', [1]), { code: 'failed' })
    assert.equal(await client.call('secondary/store', 'get', [0]), 'well')
    client.close()
  })
}

test('keys that would be of Object are only keys', async () => {
  const host = new Host()
  host.answer = (wire, request) => wire.say(host.frame(request, 2, pack(new Map([['__proto__', { polluted: true }], ['a', 1]]))))
  const { client } = await begin(host)
  const value = await client.call('secondary/store', 'get', ['a'])
  assert.equal({}.polluted, undefined)
  assert.equal(Object.getPrototypeOf(value), null)
  assert.deepEqual(Object.keys(value), ['__proto__', 'a'])
  client.close()
})

test('numbers go out in their order, however many calls there are', async () => {
  const host = new Host()
  const { client } = await begin(host)
  await Promise.all(Array.from({ length: 500 }, (_, at) => client.call('secondary/store', 'get', ['x'.repeat(at % 7 ? 1 : 50_000)])))
  assert.equal(host.requests.length, 500) // `request` of the host has checked the order
  client.close()
})

test('a right that is missing is not asked for', async () => {
  const host = new Host()
  const { client } = await begin(host)
  await assert.rejects(client.call('secondary/other', 'get'), { code: 'denied' })
  await assert.rejects(client.call('secondary/store', 'get', [1], { timeoutMs: 300_001 }), { code: 'invalid_argument' })
  await assert.rejects(client.call('secondary/store', 'get', [() => {}]), { code: 'invalid_argument' })
  assert.equal(host.requests.length, 0)
  client.close()
})

// -- streams and uploads ---------------------------------------------------------------------------------------------

const until = (holds) => new Promise((resolve) => setTimeout(function look() { holds() ? resolve() : setTimeout(look, 5) }))
const collect = async (stream) => {
  const items = []
  for await (const item of stream) items.push(item)
  return items
}

const streams = (name, send, expected) => test(name, async () => {
  const host = new Host()
  host.answer = (wire, request) => request.kind === 1 && send(host, wire, request)
  const { client } = await begin(host)
  const done = collect(client.stream('secondary/store', 'watch'))
  if (typeof expected === 'string') await assert.rejects(done, { code: expected })
  else assert.deepEqual(await done, expected)
  client.close()
})
const item = (host, request, part, more = {}) => host.frame(request, 3, pack(part), { part, ...more })
const final = (host, request, part, plain = NONE) => host.frame(request, 3, plain, { part, flags: 1 })
streams('items to the end', (host, wire, request) => [0, 1, 2].map((part) => wire.say(item(host, request, part))) && wire.say(final(host, request, 3)), [0, 1, 2])
streams('a gap', (host, wire, request) => [0, 2].map((part) => wire.say(item(host, request, part))), 'stream_broken')
streams('an end too early', (host, wire, request) => [0].map((part) => wire.say(item(host, request, part))) && wire.say(final(host, request, 2)), 'stream_broken')
streams('a reply does not end it', (host, wire, request) => wire.say(host.frame(request, 2, pack(1))) ?? wire.say(final(host, request, 0)), [])
streams('a last item does not end it', (host, wire, request) => wire.say(final(host, request, 0, pack(1))) ?? wire.say(final(host, request, 0)), [])
streams('an error', (host, wire, request) => wire.say(host.frame(request, 4, pack(['not_found', 'no such topic']))), 'not_found')

test('more than was allowed, and is not read', async () => {
  const host = new Host()
  host.answer = (wire, request) => request.kind === 1 && Array.from({ length: 200 }, (_, part) => wire.say(item(host, request, part)))
  const { client, wire } = await begin(host)
  const stream = client.stream('secondary/store', 'watch')
  assert.equal((await stream.next()).value, 0)
  await until(() => host.requests.at(-1).kind === 5) // it is cancelled while nobody reads
  await assert.rejects(collect(stream), { code: 'stream_broken' })
  assert.ok(!wire.isClosed)
  client.close()
})

test('credit is given as items are taken, and a stream that is left is cancelled', async () => {
  const host = new Host()
  let allowed = 32, sent = 0
  const more = (wire, request) => { while (sent < allowed) wire.say(item(host, request, sent++)) }
  let first
  host.answer = (wire, request) => {
    if (request.kind === 1) first = request
    if (request.kind === 6) allowed += request.value
    if (request.kind !== 5) more(wire, first)
  }
  const { client } = await begin(host)
  let count = 0
  for await (const value of client.stream('secondary/store', 'watch')) {
    assert.equal(value, count)
    if (++count === 1000) break
  }
  await until(() => host.requests.at(-1).kind === 5)
  assert.ok(allowed >= 1000 && allowed <= 1100)
  client.close()
})

test('an upload sends no more than is allowed, and stops when it is answered', async () => {
  const host = new Host()
  let parts = 0
  const idle = () => new Promise((resolve) => setTimeout(resolve, 50))
  host.answer = (wire, request) => {
    if (request.kind === 7) parts++
    if (parts === 40) wire.say(host.frame(host.requests[0], 2, pack('enough')))
  }
  const { client, wire } = await begin(host)
  async function* endless() { for (;;) yield bytes(1000) }
  const done = client.upload('secondary/store', 'put', ['a'], endless())
  while (parts < 32) await idle()
  await idle()
  assert.equal(parts, 32)
  wire.say(host.frame(host.requests[0], 9, pack(16)))
  assert.equal(await done, 'enough')
  await idle()
  assert.ok(parts <= 48)
  client.close()
})

test('an upload whose source fails is cancelled', async () => {
  const host = new Host()
  host.answer = () => {}
  const { client } = await begin(host)
  async function* broken() { yield bytes(10); throw new Error('no more') }
  await assert.rejects(client.upload('secondary/store', 'put', [], broken()), /no more/)
  await until(() => host.requests.at(-1)?.kind === 5)
  client.close()
})

// -- repetition and coming again -------------------------------------------------------------------------------------

test('a call with a key is repeated over another session, with the mailbox of the first', async () => {
  const host = new Host()
  host.answer = (wire, request) => {
    if (host.requests.length === 1) {
      host.seq = 0
      host.session = random(16)
      wire.close()
    } else wire.say(host.frame(request, 2, pack('once')))
  }
  const { client } = await begin(host)
  const seen = []
  for (const name of ['offline', 'online']) client.addEventListener(name, () => seen.push([name, client.offlineSince !== null]))
  assert.equal(await client.call('secondary/store', 'add', [1], { key: 'k1' }), 'once')
  assert.deepEqual(host.requests.map(({ value }) => value[2]), ['k1', ['k1', 2]])
  assert.deepEqual(seen, [['offline', true], ['online', false]])
  client.close()
})

test('a call without a key is not', async () => {
  const host = new Host()
  host.answer = (wire) => wire.close()
  const { client } = await begin(host)
  await assert.rejects(client.call('secondary/store', 'add', [1]), { code: 'outcome_unknown' })
  assert.equal(host.requests.length, 1)
  client.close()
})

test('a refusal ends one call and proves nothing: with a key it is outcome_unknown at the end', async () => {
  const host = new Host()
  host.answer = (wire, request) => wire.say(host.refusal(request, 'stale'))
  const { client } = await begin(host)
  await assert.rejects(client.call('secondary/store', 'add', [1]), { code: 'stale' })
  await assert.rejects(client.call('secondary/store', 'add', [1], { key: 'k2', timeoutMs: 300 }), { code: /outcome_unknown|deadline/ })
  assert.ok(host.requests.length > 3)
  client.close()
})

test('a recipient that is started anew ends what was asked of it', async () => {
  const host = new Host()
  host.answer = (wire) => wire.say(host.granted({ fields: { rights: [['secondary/store', 3, random(32), ['*']]] } }))
  const { client } = await begin(host)
  await assert.rejects(client.call('secondary/store', 'add', [1]), { code: 'outcome_unknown' })
  client.close()
})

test('a client that was revoked is closed, once the host has refused it twice', async () => {
  const host = new Host()
  const { client, wire } = await begin(host)
  host.welcome = (next) => next.say(pack(['refused', 'rejected']))
  const closed = new Promise((resolve) => client.addEventListener('closed', ({ detail }) => resolve(detail)))
  wire.close()
  assert.equal((await closed).code, 'rejected')
  await assert.rejects(client.call('secondary/store', 'get', [1]), { code: 'rejected' })
})

test('a locked host is said to be locked, and asked again', async () => {
  const host = new Host()
  const { client, wire } = await begin(host)
  const welcome = host.welcome
  host.welcome = (next) => next.say(pack(['locked', host.install, host.boot, random(16)]))
  const locked = new Promise((resolve) => client.addEventListener('locked', ({ detail }) => resolve(detail), { once: true }))
  wire.close()
  assert.equal((await locked).code, 'locked')
  host.welcome = welcome
  host.seq = 0
  await new Promise((resolve) => client.addEventListener('online', resolve))
  assert.equal(await client.call('secondary/store', 'get', [1]), 'done')
  client.close()
})

test('the first session says why there is none', async () => {
  const host = new Host()
  host.welcome = (wire) => wire.say(pack(['refused', 'quarantined 30']))
  await assert.rejects(begin(host), { code: 'quarantined', message: /30 s/ })
  host.welcome = (wire) => wire.close()
  await assert.rejects(begin(host), { code: 'unavailable' })
})

// -- another certificate ---------------------------------------------------------------------------------------------

test('a certificate that the issuer did not sign is not taken', async () => {
  const host = new Host()
  host.renew = (wire) => wire.say(pack(['renewed', bytes(300), bytes(64)]))
  const { client } = await begin(host)
  await assert.rejects(client.renew(), /issuer did not sign/)
  client.close()
})

test('no other certificate is no end', async () => {
  const host = new Host()
  host.renew = (wire) => wire.say(pack(['not_renewed', 'rejected']))
  const { client } = await begin(host)
  await assert.rejects(client.renew(), { code: 'denied' })
  assert.equal(await client.call('secondary/store', 'get', [1]), 'done')
  client.close()
})

// -- what it waits for -----------------------------------------------------------------------------------------------

test('a quarantine of years is no pause that a timer takes for none', async () => {
  const { Backoff } = await load('retry.js')
  for (const seconds of [30, 2_147_484, 999_999_999]) assert.ok(new Backoff().pause(1000 * seconds) < 2 ** 31)
  const host = new Host()
  const { client, wire } = await begin(host)
  host.welcome = (next) => next.say(pack(['refused', 'quarantined 999999999']))
  const offline = new Promise((resolve) => client.addEventListener('offline', ({ detail }) => detail.code === 'quarantined' && resolve()))
  wire.close()
  await offline
  const asked = host.wires.length
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.equal(host.wires.length, asked)
  client.close()
})

test('a first session that is insisted on comes when the host is unlocked', async () => {
  const host = new Host()
  const welcome = host.welcome
  host.welcome = (wire) => wire.say(pack(['locked', host.install, host.boot, random(16)]))
  const told = []
  const identity = await host.identity()
  const client = await connect(identity, { open: () => new Wire(host), keeper: keeperOf(), meanwhile: (made) => made.addEventListener('locked', () => {
    told.push('locked')
    host.welcome = welcome
  }) })
  assert.deepEqual(told, ['locked'])
  assert.equal(await client.call('secondary/store', 'get', [1]), 'done')
  client.close()
})

test('one that was revoked is not insisted on', async () => {
  const host = new Host()
  host.welcome = (wire) => wire.say(pack(['refused', 'rejected']))
  const identity = await host.identity()
  await assert.rejects(connect(identity, { open: () => new Wire(host), keeper: keeperOf(), meanwhile: () => {} }), { code: 'rejected' })
  assert.equal(host.wires.length, 2)
})

test('what the browser has lost is no reason to stop', async () => {
  const host = new Host()
  const keeper = { ...keeperOf(), load: async () => { throw new DOMException('its data was cleared', 'InvalidStateError') } }
  const client = await connect(await host.identity(), { open: () => new Wire(host), keeper })
  const welcome = host.welcome
  host.welcome = (next) => {
    host.welcome = welcome
    next.say(pack(['refused', 'rejected']))
  }
  const online = new Promise((resolve) => client.addEventListener('online', resolve))
  host.wires.at(-1).close()
  await online
  client.close()
})
