// One thing that a person does from a screen: a button that names its effect, a question where it cannot be undone, the
// command line that does the same, and how it ended. Act is how it goes on, without a page; `action` draws one.
//
//   const actions = new Actions(client)          // of a screen: the same element again when the screen draws again
//   actions.of(`restart ${name}`, {
//     effect: texts.operate.restart(name),       // the words of the button, and of yes
//     question: texts.operate.restartSure(name), // null: it can be undone, so it is done at once
//     command: ['tlsrt-supervisor', 'restart', name],
//     run: ({ key }) => client.call('third/operate', 'restart', [], { named: { process: name }, key }),
//     result: (value) => texts.operate.restarted(name), // text or an element; left out: "done" and the time
//   })

import { newKey } from './client.js'
import { ask } from './dialog.js'
import { el, show } from './dom.js'
import { texts } from './texts.js'
import { commandText } from './values.js'

const HELD_MS = 5000 // a change of rights ends the session, and the client has the next one within 0.6 s

/**
 * One action: `state` is idle, waiting, asking, pending, done (`value`) or failed (`error`); a `change` event tells of each.
 *
 * It is done at most once for one yes: nothing begins while it waits, is asked about or under way, a question is answered
 * by no when the connection ends over it, and `run` gets one idempotency key under which the client may repeat its call.
 * What is begun without a connection waits for it, for some seconds, before it is asked about and before anything is sent.
 */
export class Act extends EventTarget {
  state = 'idle'
  value = null
  error = null
  #client
  #question
  #run

  /** `client` is null for what needs no host; `question(signal)` resolves to whether to do it, null: without asking. */
  constructor(client, question, run) {
    super()
    this.#client = client
    this.#question = question
    this.#run = run
  }

  get isBusy() {
    return ['waiting', 'asking', 'pending'].includes(this.state)
  }

  async begin() {
    if (this.isBusy) return
    if (this.#client?.offlineSince && !(await this.#isConnected())) return this.#to('failed', { error: new Error(texts.act.offline) })
    if (this.#question && !(await this.#isWanted())) return
    this.#to('pending')
    try {
      this.#to('done', { value: await this.#run({ key: newKey() }) })
    } catch (error) {
      this.#to('failed', { error })
    }
  }

  /** Wait for the connection; false if it does not come soon, or will not. */
  async #isConnected() {
    const over = new AbortController(), { signal } = over
    this.#to('waiting')
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, HELD_MS)
      for (const name of ['online', 'locked', 'closed']) this.#client.addEventListener(name, () => { clearTimeout(timer); resolve() }, { signal })
    })
    over.abort()
    return !this.#client.offlineSince
  }

  async #isWanted() {
    const lost = new AbortController(), lose = () => lost.abort()
    const ends = ['offline', 'locked', 'closed']
    for (const name of ends) this.#client?.addEventListener(name, lose)
    this.#to('asking')
    try {
      const isWanted = await this.#question(lost.signal)
      if (lost.signal.aborted) this.#to('failed', { error: new Error(texts.act.lost) })
      else if (!isWanted) this.#to('idle')
      return isWanted && !lost.signal.aborted
    } finally {
      for (const name of ends) this.#client?.removeEventListener(name, lose)
    }
  }

  #to(state, { value = null, error = null } = {}) {
    Object.assign(this, { state, value, error })
    this.dispatchEvent(new Event('change'))
  }
}

const said = (act, result) => ({
  idle: () => null,
  waiting: () => texts.act.waiting,
  asking: () => null,
  pending: () => texts.act.pending,
  done: () => (result ? result(act.value) : texts.act.done(new Date().toLocaleTimeString())),
  failed: () => el('span', { class: 'error' }, texts.failed(act.error), act.error.code === 'outcome_unknown' ? ` ${texts.act.unknown}` : ''),
})[act.state]()

/** Draw an action: see the top. `isMain` marks the one that a screen is for. */
export function action(client, { effect, question = null, command = null, run, result = null, isMain = false }) {
  const act = new Act(client, question && ((signal) => ask(question, effect, texts.act.no, { command, signal })), run)
  const button = el('button', { type: 'button', class: isMain ? 'main' : null, click: () => act.begin() }, effect)
  const out = el('p', { role: 'status', class: 'note' })
  act.addEventListener('change', () => {
    button.setAttribute('aria-disabled', String(act.isBusy)) // not disabled: it keeps the focus
    out.setAttribute('aria-busy', String(act.isBusy && act.state !== 'asking'))
    show(out, said(act, result))
  })
  return el('div', { class: 'act' }, button, command && el('code', { class: 'same', 'aria-label': texts.act.command }, commandText(command)), out)
}

/** The actions of a screen, each made once: what is under way, and how it ended, outlasts that the screen draws again. */
export class Actions {
  #client
  #made = new Map()

  constructor(client) {
    this.#client = client
  }

  of(name, options) {
    if (!this.#made.has(name)) this.#made.set(name, action(this.#client, options))
    return this.#made.get(name)
  }
}
