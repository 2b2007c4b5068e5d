// Attacks as stories: who did what, what was done about it, and how it ends.

import { el, show, table } from './dom.js'
import { EVENTS, may } from './feeds.js'
import { Operate } from './operate.js'
import { texts } from './texts.js'
import { stories } from './values.js'

/** Tell whether something is done about who a story is of, as far as its events tell. */
const isInForce = ({ events }) => events.findLastIndex((one) => one.name === 'response') > events.findLastIndex((one) => one.name === 'response_ended')

export function attacks({ client, events: feed, signal }) {
  if (!may(client, EVENTS, 'recent')) return el('p', {}, texts.events.none)
  const body = el('div', {}), operate = new Operate(client)
  const draw = () => {
    const found = stories(feed.events)
    show(body, found.length ? found.map((story) => el('section', { class: 'process facts', 'aria-label': story.subject }, el('h3', {}, story.subject),
      el('p', { class: 'note' }, `${texts.attacks.from} ${story.first.slice(0, 19).replace('T', ' ')} ${texts.attacks.until} ${story.last.slice(0, 19).replace('T', ' ')}`),
      table(texts.attacks.list(story.subject), [texts.rights.at, texts.rights.what, texts.attacks.said], story.events.slice(-50).map((event) => [event.at.slice(11, 19), event.name, event.sentence])),
      (isInForce(story) && operate.release(story.subject)) || el('p', { class: 'note' }, `${texts.attacks.release} `, el('code', {}, 'tlsrt-supervisor quarantine list')))) : el('p', {}, texts.attacks.none))
  }
  feed.addEventListener('change', draw, { signal })
  draw()
  return body
}
