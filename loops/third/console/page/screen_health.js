// Health and lock state: first whether all is well, then what is not.

import { chart } from './chart.js'
import { el, show, table } from './dom.js'
import { STATUS, may } from './feeds.js'
import { past } from './history.js'
import { Operate } from './operate.js'
import { texts } from './texts.js'
import { bytesText, durationText, troubles } from './values.js'

const ADD = 'tlsrt-supervisor component add third/status --allow \'client/NAME: "*"\''

export function missing(says, command) {
  return el('div', {}, el('p', {}, says), el('pre', {}, command))
}

export function health({ client, status, signal }) {
  const body = el('div', {}, el('p', {}, texts.loading))
  if (!may(client, STATUS, 'watch')) return missing(texts.health.none, ADD.replace('NAME', client.subject.split('/')[1] ?? 'NAME'))
  const draw = () => {
    if (!status.status) return status.error && show(body, el('p', { class: 'error' }, texts.failed(status.error)))
    const host = status.status, wrong = troubles(host), active = host.loops.filter((one) => one.state === 'active').length
    const sum = (of) => host.loops.reduce((all, one) => all + (of(one) ?? 0), 0)
    const tile = (name, value) => el('div', {}, el('dt', {}, name), el('dd', {}, value))
    show(body,
      el('p', { class: `verdict ${wrong.length ? 'bad' : 'good'}`, role: 'status', id: 'verdict' }, wrong.length ? texts.health.wrong(wrong.length) : texts.health.well),
      wrong.length ? table(texts.health.look, [texts.health.where, texts.health.what], wrong.map(([what, where]) => [where || host.door.host, what])) : null,
      el('dl', { class: 'tiles' },
        tile(texts.health.lock, host.door.locked ? texts.health.locked : texts.health.unlocked),
        tile(texts.health.up, durationText(host.supervisor.uptime_s)),
        tile(texts.health.processes, `${active} / ${host.loops.length}`),
        tile(texts.health.restarts, String(sum((one) => one.restarts))),
        tile(texts.health.refused, String(sum((one) => one.frames?.refused))),
        tile(texts.health.memory, bytesText(status.charts.memory.values.at(-1) ?? 0))),
      el('h3', {}, texts.health.chart),
      el('div', { class: 'charts' }, chart(texts.health.memory, status.charts.memory, bytesText), chart(texts.health.frames, status.charts.frames, (value) => value.toFixed(1))))
  }
  status.addEventListener('change', draw, { signal })
  draw()
  return el('div', {}, body, past({ client, signal }, STATUS), new Operate(client).lock())
}
