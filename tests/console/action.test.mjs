// What a person does from a screen is done once for one yes, and not at all when the connection ends over the question.

import assert from 'node:assert/strict'
import { test as run } from 'node:test'
import { load } from './host.mjs'

const { Act } = await load('action.js')
const { TlsrtError } = await load('client.js')

const test = (name, work) => run(name, { timeout: 10_000 }, work)

class Line extends EventTarget {
  offlineSince = null
  end(name) {
    this.offlineSince = 1
    this.dispatchEvent(new Event(name))
  }
  come() {
    this.offlineSince = null
    this.dispatchEvent(new Event('online'))
  }
}

/** An action whose question and work wait for the test, and what was asked and done. */
function made({ isAsked = true, client = new Line() } = {}) {
  const one = { client, asked: [], done: [], states: [] }
  const question = (signal) => new Promise((answer) => {
    signal.addEventListener('abort', () => answer(false), { once: true })
    one.asked.push({ answer, signal })
  })
  const work = ({ key }) => new Promise((resolve, reject) => one.done.push({ key, resolve, reject }))
  one.act = new Act(client, isAsked ? question : null, work)
  one.act.addEventListener('change', () => one.states.push(one.act.state))
  return one
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

test('yes does it once, with a key of its own each time', async () => {
  const one = made()
  for (const value of ['a', 'b']) {
    const ends = one.act.begin()
    one.asked.at(-1).answer(true)
    await turn()
    one.done.at(-1).resolve(value)
    await ends
    assert.equal(one.act.value, value)
  }
  assert.deepEqual(one.states, ['asking', 'pending', 'done', 'asking', 'pending', 'done'])
  assert.match(one.done[0].key, /^[0-9a-f]{32}$/)
  assert.notEqual(one.done[0].key, one.done[1].key)
})

test('no does nothing', async () => {
  const one = made()
  const ends = one.act.begin()
  one.asked[0].answer(false)
  await ends
  assert.deepEqual([one.states, one.done.length], [['asking', 'idle'], 0])
})

test('a double click asks one question and does one thing', async () => {
  const asked = made()
  for (let clicks = 0; clicks < 20; clicks++) asked.act.begin()
  assert.equal(asked.asked.length, 1)
  asked.asked[0].answer(true)
  await turn()
  for (let clicks = 0; clicks < 20; clicks++) asked.act.begin()
  assert.deepEqual([asked.asked.length, asked.done.length], [1, 1])
  const plain = made({ isAsked: false })
  for (let clicks = 0; clicks < 20; clicks++) plain.act.begin()
  assert.equal(plain.done.length, 1)
})

for (const name of ['offline', 'locked', 'closed']) {
  test(`a connection that is ${name} between question and yes answers it with no, also if it comes again`, async () => {
    const one = made()
    const ends = one.act.begin()
    one.client.end(name)
    one.client.come()
    one.asked[0].answer(true)
    await ends
    assert.deepEqual([one.states, one.done.length], [['asking', 'failed'], 0])
    assert.match(one.act.error.message, /before the question was answered: nothing was done/)
  })
}

test('yes in the moment in which the connection ends is no', async () => {
  const one = made()
  const ends = one.act.begin()
  one.asked[0].answer(true)
  one.client.end('offline') // the yes is on its way as a promise
  await ends
  assert.deepEqual([one.act.state, one.done.length], ['failed', 0])
})

for (const isAsked of [true, false]) {
  test(`without a connection nothing is asked or done: it waits some seconds, and a sentence says so (${isAsked})`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const one = made({ isAsked })
    one.client.end('offline')
    const ends = one.act.begin()
    for (let clicks = 0; clicks < 20; clicks++) one.act.begin()
    t.mock.timers.tick(4999)
    await turn()
    assert.deepEqual([one.states, one.asked.length, one.done.length], [['waiting'], 0, 0])
    t.mock.timers.tick(1)
    await ends
    one.client.come()
    await turn()
    assert.deepEqual([one.states, one.asked.length, one.done.length], [['waiting', 'failed'], 0, 0])
    assert.match(one.act.error.message, /no connection to the host: nothing was done/)
  })

  test(`a connection that comes again has it asked about, or done, once (${isAsked})`, async () => {
    const one = made({ isAsked })
    one.client.end('offline')
    const ends = one.act.begin()
    one.client.come()
    await turn()
    one.client.end('locked')
    one.client.come()
    if (isAsked) {
      await ends
      assert.deepEqual([one.states, one.asked.length, one.done.length], [['waiting', 'asking', 'failed'], 1, 0])
    } else assert.deepEqual([one.states, one.done.length], [['waiting', 'pending'], 1])
  })

  test(`one that is locked, closed, or gone again in the same moment is not waited for (${isAsked})`, async () => {
    for (const name of ['locked', 'closed', 'offline']) {
      const one = made({ isAsked })
      one.client.end('offline')
      const ends = one.act.begin()
      if (name === 'offline') one.client.come()
      one.client.end(name)
      await ends
      assert.deepEqual([one.states, one.asked.length, one.done.length], [['waiting', 'failed'], 0, 0])
    }
  })
}

test('a refusal is its error, and it can be tried again', async () => {
  const one = made({ isAsked: false })
  const ends = one.act.begin()
  one.done[0].reject(new TlsrtError('denied', 'not this one'))
  await ends
  assert.deepEqual([one.act.state, one.act.error.code], ['failed', 'denied'])
  one.act.begin()
  assert.deepEqual([one.act.state, one.act.error, one.done.length], ['pending', null, 2])
})

test('what needs no host is done without one', async () => {
  const one = made({ client: null })
  const ends = one.act.begin()
  one.asked[0].answer(true)
  await turn()
  one.done[0].resolve()
  await ends
  assert.equal(one.act.state, 'done')
})
