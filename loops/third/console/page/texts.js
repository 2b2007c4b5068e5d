// All that the console says in words of its own. Another language is another file like this one.

import { serviceScreens, serviceTexts } from './texts_services.js'

export const texts = {
  screens: { health: 'Health', tree: 'Processes', methods: 'Methods', events: 'Events', rights: 'Rights', attacks: 'Attacks', logs: 'Logs', call: 'Calls', ...serviceScreens },
  connection: {
    connecting: 'connecting …', online: 'connected', closed: 'closed: ',
    locked: (since) => `the host is locked, since ${since}: it gives no sessions until an operator unlocks it`,
    offline: (since) => `offline since ${since}; it connects again by itself`,
  },
  enrol: {
    heading: 'Make this browser a client',
    says: 'A key is made that cannot leave this browser. The link is used up by it. In a private window the key is gone when that is closed.',
    act: 'Enrol this browser', none: 'This browser is no client of this host. On the host, run',
    then: 'and open the link that it prints.', forget: 'Forget the key of this browser',
    forgetSure: 'Its key is gone for good, and the host needs a new link. Forget it?',
  },
  health: {
    well: 'All is well', wrong: (count) => `${count} ${count === 1 ? 'thing needs' : 'things need'} a look`,
    lock: 'Lock', unlocked: 'not locked', locked: 'locked', up: 'up for', processes: 'processes active', restarts: 'restarts', refused: 'frames refused',
    memory: 'memory', what: 'What', where: 'Where', chart: 'Since this page is open', none: 'Health needs the service third/status, which this client may not call. On the host, run',
    frames: 'frames a second',
  },
  tree: {
    state: 'state', restarts: 'restarts', memory: 'memory', up: 'up for', parts: 'components', waived: 'waived', death: 'last death', programs: 'programs',
    closed: 'closed', open: 'open', layers: 'layers', noProcess: 'no process of its own',
  },
  methods: {
    component: 'Component', method: 'Method', run: 'Call', follow: 'Follow', stop: 'Stop', copy: 'Copy', copied: 'copied', command: 'The same on the command line',
    result: 'Result', optional: 'optional', nothing: 'it returned nothing', took: (ms) => `took ${ms} ms`, items: (count, left) => `${count} items${left ? `, the first ${left} are not shown any more` : ''}`,
    changes: 'This may change something, and cannot be undone here.', sure: (what) => `Call ${what}? It may change something that cannot be undone here.`,
    yes: 'Yes, call it', no: 'No', away: 'does not run now', save: 'Save as a file', file: 'a file', none: 'this client may call nothing',
  },
  events: {
    kind: 'Kind', severity: 'At least', words: 'Words', all: 'all', pause: 'Pause', go: 'Go on', count: (shown, all) => `${shown} of ${all} events`, gap: (count) => `${count} events are missing here`,
    none: 'This client may not read primary/events. On the host, an operator allows it.', list: 'Events, the newest last', paused: (count) => `paused; ${count} are new`,
  },
  rights: { says: 'What this client may call', target: 'Component', running: 'Runs', methods: 'Methods', yes: 'yes', no: 'no', sessions: 'Sessions and clients, as the events tell it', at: 'At', who: 'Who', what: 'What' },
  attacks: { none: 'Nothing that looks like an attack is among the last events.', from: 'from', until: 'until', release: 'An operator releases it by' },
  logs: { none: 'Logs need the service secondary/logs, which this client may not call. On the host, run', search: 'Search', older: 'Older', since: 'Since', component: 'Component', text: 'Text', priority: 'At worst', at: 'At', of: 'Of', said: 'Said', missing: 'Not in the answer', list: 'Entries, the oldest first' },
  act: {
    no: 'No', pending: 'under way …', done: (at) => `done, ${at}`, command: 'The same on the command line',
    offline: 'There is no connection to the host: nothing was done. Do it again when the line at the top says connected.',
    lost: 'The connection ended before the question was answered: nothing was done.',
    unknown: 'It may have been done: look before you do it again.',
  },
  call: {
    title: 'Calls that ring', none: 'Calls need the service external/calls, which this client may not call. docs/guide/calls.md says what else it needs. On the host, run',
    ringsYou: (who, number) => `${who} rings (${number})`, says: (text) => `and says of itself: “${text}”`, answer: (who) => `Answer ${who}`, refuse: 'Refuse', hangUp: 'Hang up',
    silent: 'It rings in sight alone: a browser lets a page sound once something on it was pressed.', inCall: (who, state) => `In a call with ${who}: ${state}`,
    states: { microphone: 'asks for the microphone', rings: 'rings', answered: 'answered', talks: 'talking' },
    mute: 'Mute the microphone', unmute: 'Unmute the microphone', muted: 'microphone muted', hold: 'Hold', resume: 'Resume', heldBy: (who) => `held by ${who}`, keys: 'Keys of a telephone',
    texts: 'What was written', me: 'you', text: 'Write to the other side', send: 'Send', setUp: (ms) => `There was sound ${ms} ms after it was pressed.`,
    quality: (lost, all, buffer, trip) => `Heard: ${lost} of ${all} pieces lost, ${buffer} ms kept back, ${trip} ms to the host and back`,
    mayNotPlay: 'This browser plays no sound before something on the page was pressed.', hear: 'Let me hear it',
    who: 'Who can be rung', ring: (number) => `Ring ${number}`, kinds: { group: 'group: the first to answer', person: 'person', component: 'component' }, saysLabel: 'What is shown to who is rung (optional)',
    noNumbers: 'There is no number that this client may ring: they are in the option `numbers` of external/calls.', noRing: 'This client may not ring: it has no right to `ring` and `numbers` of external/calls.',
    reachable: 'This page is rung, as is every other one that is open.', unreachable: (why) => `This page is not rung: ${why}`, noWatch: 'This client is not rung: it has no right to `watch` of external/calls.',
    microphone: 'The microphone is asked for when you ring or answer, and let go when the call ends. The host can hear calls.',
    log: 'Calls of this client, the newest first', heads: ['Began', 'With', 'It said', 'Outcome', 'Talked'], to: (number) => `to ${number}`, from: (who) => `from ${who}`, taken: (who) => `answered by ${who}`,
    going: 'goes on', missed: 'only missed ones', older: 'Older', ended: (who, why) => `The call with ${who} is over: ${why}`,
    why: { declined: 'refused', busy: 'engaged', away: 'no one is there', 'connection lost': 'the connection of the sound was lost', locked: 'the host is locked',
      offline: 'the session has ended', unavailable: 'the session has ended', rejected: 'this client has no place here any more', denied: 'the right to it has ended', page: 'the page was left' },
    errors: { NotAllowedError: 'this browser does not let the page have the microphone: allow it in the settings of the page', NotFoundError: 'there is no microphone', NotReadableError: 'the microphone is used by another program' },
  },
  ...serviceTexts,
  failed: (error) => `${error.code ? `${error.code}: ` : ''}${error.message}`,
  loading: 'loading …',
}
