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

/**
 * One action: `state` is idle, asking, pending, done (`value`) or failed (`error`); a `change` event tells of each.
 *
 * It is done at most once for one yes: nothing begins while it is asked about or under way, a question is answered by no
 * when the connection ends over it, and `run` gets one idempotency key under which the client may repeat its call.
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

  async begin() {
    if (this.state === 'asking' || this.state === 'pending') return
    if (this.#client?.offlineSince) return this.#to('failed', { error: new Error(texts.act.offline) })
    if (this.#question && !(await this.#isWanted())) return
    this.#to('pending')
    try {
      this.#to('done', { value: await this.#run({ key: newKey() }) })
    } catch (error) {
      this.#to('failed', { error })
    }
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
    const isBusy = act.state === 'asking' || act.state === 'pending'
    button.setAttribute('aria-disabled', String(isBusy)) // not disabled: it keeps the focus
    out.setAttribute('aria-busy', String(act.state === 'pending'))
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
