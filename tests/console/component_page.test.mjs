// What a component's page asks for is done for that component alone, within bounds, and nothing of it outlives the page.

import assert from 'node:assert/strict'
import { test as run } from 'node:test'
import { load } from './host.mjs'

const { BURST, CALLS_MAX, PageBridge, STREAMS_MAX } = await load('component_page.js')
const { TlsrtError } = await load('client.js')

const test = (name, work) => run(name, { timeout: 10_000 }, work)
const METHODS = { read: { idempotent: true }, shine: { idempotent: false }, count: { stream: true }, put: { upload: true, idempotent: true } }
const turn = () => new Promise((go) => setImmediate(go))

/** A bridge whose client notes what it is asked; `said` is what the page hears. */
function made({ rights = ['*'], isWanted = async () => true, call = async (...words) => words } = {}) {
  const one = { said: [], calls: [], ended: 0, time: 0, port: { postMessage: (message) => one.said.push(message) } }
  const client = {
    rights: new Map([['third/lamp', { methods: rights, running: true }]]),
    call: (...words) => {
      one.calls.push(words)
      return call(...words)
    },
    async *stream(target, method, args, { signal }) {
      try {
        for (let at = 1; !signal.aborted; at++) yield at
      } finally {
        one.ended++
      }
    },
  }
  one.bridge = new PageBridge({ client, target: 'third/lamp', methods: METHODS, port: one.port, isWanted, now: () => one.time })
  one.say = async (message) => {
    one.port.onmessage({ data: message })
    await turn()
    return one.said.at(-1)
  }
  return one
}

test('a call is made of the component that the page came from, with named arguments', async () => {
  const one = made()
  await one.say({ id: 1, does: 'call', method: 'shine', named: { level: 3 } })
  assert.deepEqual(one.calls, [['third/lamp', 'shine', [], { named: { level: 3 } }]])
  assert.equal(one.said[0].id, 1)
})

for (const message of [
  null, 'call', 7, {}, { id: 1.5, does: 'call' }, { id: '1', does: 'call' }, { id: 1, does: 'burn' }, 
]) test(`nothing follows from ${JSON.stringify(message)}`, async () => {
  const one = made()
  await one.say(message)
  assert.deepEqual([one.calls, one.said], [[], []])
})

for (const [method, named, code] of [
  ['burn', {}, 'denied'], ['__proto__', {}, 'denied'], ['constructor', {}, 'denied'], [undefined, {}, 'denied'], [{ toString: () => 'read' }, {}, 'denied'],
  ['count', {}, 'denied'], ['put', {}, 'denied'], ['describe', {}, 'denied'], ['read', null, 'invalid_argument'], ['read', [], 'invalid_argument'],
  ['read', new Date(), 'invalid_argument'], ['read', 'x', 'invalid_argument'],
]) test(`a call of ${String(method)} with ${JSON.stringify(named)} is refused`, async () => {
  const one = made()
  assert.equal((await one.say({ id: 1, does: 'call', method, named })).error.code, code)
  assert.deepEqual(one.calls, [])
})

test('what the client may not call the page may not', async () => {
  const one = made({ rights: ['read'] })
  assert.deepEqual(one.bridge.allowed, ['read'])
  assert.equal((await one.say({ id: 1, does: 'call', method: 'shine', named: {} })).error.code, 'denied')
  assert.equal((await one.say({ id: 2, does: 'stream', method: 'subscribe', named: { topic: 'x' } })).error.code, 'denied')
})

test('a call that may change something is asked about, one at a time, and no is no', async () => {
  const answers = []
  const one = made({ isWanted: () => new Promise((answer) => answers.push(answer)) })
  for (const id of [1, 2, 3]) await one.say({ id, does: 'call', method: 'shine', named: {} })
  assert.equal(answers.length, 1)
  assert.deepEqual(one.said.map(({ id, error }) => [id, error.code]), [[2, 'denied'], [3, 'denied']])
  answers[0](false)
  await turn()
  assert.equal(one.said.at(-1).error.code, 'denied')
  await one.say({ id: 4, does: 'call', method: 'read', named: {} })
  assert.equal(one.calls.length, 1)
})

test('a question that is answered after the page has gone does nothing', async () => {
  let answer
  const one = made({ isWanted: () => new Promise((take) => { answer = take }) })
  await one.say({ id: 1, does: 'call', method: 'shine', named: {} })
  one.bridge.close()
  answer(true)
  await turn()
  assert.deepEqual([one.calls, one.port.onmessage], [[], null])
})

test('calls, streams and messages have bounds', async () => {
  const one = made({ call: () => new Promise(() => {}) })
  for (let id = 1; id <= CALLS_MAX; id++) await one.say({ id, does: 'call', method: 'read', named: {} })
  assert.equal((await one.say({ id: 99, does: 'call', method: 'read', named: {} })).error.code, 'busy')
  for (let id = 100; id < 100 + STREAMS_MAX; id++) await one.say({ id, does: 'stream', method: 'count', named: {} })
  assert.equal((await one.say({ id: 200, does: 'stream', method: 'count', named: {} })).error.code, 'busy')
  for (let at = 0; at < BURST; at++) await one.say({ id: 300, does: 'end' })
  assert.equal((await one.say({ id: 301, does: 'more' })).error.code, 'busy')
  one.time += 1000
  await one.say({ id: 302, does: 'end' })
  assert.equal(one.said.at(-1).id, 301)
})

test('a stream gives an item for each that is asked for, and ends with the page', async () => {
  const one = made()
  assert.deepEqual(await one.say({ id: 1, does: 'stream', method: 'count', named: {} }), { id: 1, value: 1, done: false })
  await turn()
  assert.equal(one.said.length, 1)
  assert.equal((await one.say({ id: 1, does: 'more' })).value, 2)
  await one.say({ id: 1, does: 'end' })
  await one.say({ id: 1, does: 'more' })
  assert.equal(one.said.length, 2)
  await one.say({ id: 2, does: 'stream', method: 'count', named: {} })
  one.bridge.close()
  assert.equal(one.port.onmessage, null)
})

test('an error of the host is told by its code, and one of the browser by a sentence', async () => {
  const errors = [new TlsrtError('failed', 'no water'), new RangeError('secret place')]
  const one = made({ call: async () => { throw errors.shift() } })
  assert.deepEqual((await one.say({ id: 1, does: 'call', method: 'read', named: {} })).error, { code: 'failed', message: 'failed: no water' })
  const { error } = await one.say({ id: 2, does: 'call', method: 'read', named: {} })
  assert.equal(error.code, 'invalid_argument')
  assert.ok(!error.message.includes('secret'))
})

test('what a page draws is checked, and what it says of its failure is cut', async () => {
  const one = made(), drawn = [], failed = []
  one.bridge.ondrawn = (nodes) => drawn.push(nodes)
  one.bridge.onfailed = (words) => failed.push(words)
  await one.say({ id: 0, does: 'show', nodes: [['p', {}, 'text']] })
  assert.equal(drawn[0][0].tag, 'p')
  for (const nodes of [null, [['script', {}]], [['p', { style: 'x' }]], [[['p']]], [7]]) await one.say({ id: 0, does: 'show', nodes })
  await one.say({ id: 0, does: 'failed', words: 'x'.repeat(1e6) })
  assert.equal(drawn.length, 1)
  assert.equal(failed.length, 6)
  assert.equal(failed.at(-1).length, 300)
})

const { DEPTH_MAX, DrawingError, NODES_MAX, TEXT_MAX, readDrawing } = await load('drawing.js')

test('elements and attributes are those of the lists', () => {
  const [form] = readDrawing([['form', { submit: { handler: 4 } }, ['label', {}, 'how', ['input', { name: 'level', type: 'number', value: 7, required: true }]], ['button', { class: 'main evil' }, 'go']]])
  assert.deepEqual(form.events, { submit: 4 })
  assert.deepEqual(form.children[0].children[1].words, { type: 'number', value: '7' })
  assert.equal(form.children[0].children[1].name, 'level')
  assert.deepEqual(form.children[1].words, { class: 'main', type: 'submit' })
  assert.equal(readDrawing([['chart', { label: 'x', values: [1, 2] }]])[0].series.length, 2)
})

for (const node of [
  ['script', {}, 'x'], ['SCRIPT', {}, 'x'], ['a', { href: '#/' }], ['img', { src: 'x' }], ['style', {}, 'x'], ['svg', {}], ['iframe', {}], ['dialog', { open: true }], ['h1', {}, 'x'],
  ['p', { id: 'no' }], ['p', { style: 'x' }], ['p', { onclick: 'x' }], ['p', { click: 'x' }], ['p', { click: { handler: '1' } }], ['p', { name: 'x' }], ['form', { action: 'x' }],
  ['button', { type: 'reset' }], ['button', { formaction: 'x' }], ['input', { type: 'password' }], ['input', { type: 'file' }], ['input', { type: 'hidden' }], ['input', { type: 'submit' }],
  ['p', { title: {} }], ['p', 'x'.repeat(TEXT_MAX + 1)], ['p', []], ['p', 7], ['__proto__', {}], ['p', { 'data-x': '1' }], ['p', { 'aria-hidden': 'true' }], ['chart', { values: ['x'] }],
  ['chart', { values: [-1] }], ['chart', { values: [NaN] }], ['chart', { values: new Array(4000).fill(1) }], [['p']], {}, 7, null,
]) test(`${JSON.stringify(node)?.slice(0, 60)} is not drawn`, () => assert.throws(() => readDrawing([node]), DrawingError))

test('a drawing has bounds', () => {
  readDrawing(new Array(NODES_MAX).fill('x'))
  assert.throws(() => readDrawing(new Array(NODES_MAX + 1).fill('x')), DrawingError)
  let deep = 'x'
  for (let at = 0; at <= DEPTH_MAX; at++) deep = ['div', {}, deep]
  assert.throws(() => readDrawing([deep]), DrawingError)
  assert.throws(() => readDrawing(['x'.repeat(TEXT_MAX), 'x']), DrawingError)
})
