// Where the power comes from, and what the rules of the host make of it.

import { el } from './dom.js'
import { past } from './history.js'
import { facts } from './screen_network.js'
import { service } from './service.js'

const POWER = ['status', 'governors'], POLICY = ['status', 'history']

export const power = (context) => el('div', {}, service(context, 'forth/power', POWER, (inner) => el('div', {}, facts(inner, 'forth/power', POWER), past(inner, 'forth/power'))),
  service(context, 'forth/policy', POLICY, (inner) => facts(inner, 'forth/policy', POLICY), ' --option \'rules={...}\''))
