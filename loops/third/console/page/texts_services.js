// What the screens of services say in words of their own: a part of texts.js.

export const serviceScreens = { files: 'Files', messages: 'Messages', notices: 'Notifications', store: 'Store', secrets: 'Secrets', jobs: 'Jobs', network: 'Network', power: 'Power', units: 'Services', updates: 'Updates' }

export const serviceTexts = {
  service: {
    none: (target) => `This screen needs ${target}, which this client may not call. On the host, run what is left of this that is not done yet:`,
    asOf: (at) => `as of ${at}`, slow: (target, at) => `${target} was asked at ${at} and has not answered yet; what is shown is of before`,
    broken: (target, at, why) => `since ${at} ${target} does not answer well (${why}); what is shown is of before, and it is asked again by itself`,
  },
  transfers: {
    list: 'Files that are sent and fetched', send: 'Sending', fetch: 'Fetching', cancel: 'Cancel', cancelled: 'cancelled; nothing is kept here', forget: 'Take off the list',
    part: (done, of) => `${done} of ${of}`, done: (size, sha256) => `complete: ${size}, SHA-256 ${sha256}`, sure: (name) => `${name} is there already. Replace it? What it held is gone then.`, replace: 'Yes, replace it',
  },
  files: {
    trees: 'Trees', path: 'Folders above', name: 'Name', kind: 'Kind', size: 'Size', changed: 'Changed', most: 'At most', acts: 'Do', kinds: { file: 'file', folder: 'folder', link: 'link', tree: 'tree', other: 'other' },
    list: (where) => `In ${where}`, empty: 'This folder is empty.', none: 'There is no tree that this client may read.', skipped: (count) => `${count} names that are no text are not shown`, cut: (count) => `the first ${count} are shown`,
    fetch: 'Fetch', send: (where) => `Send files to ${where}: choose them, or drop them here`, folder: 'New folder', make: 'Make this folder', remove: 'Delete for good', sure: (name) => `Delete ${name} for good?`,
  },
  messages: {
    inbox: 'In the mailbox of this client', empty: 'The mailbox is empty.', at: 'At', who: 'From', from: (who) => `From ${who}`, to: 'to', toWhom: 'To', topic: 'Topic', topicOptional: 'Topic (optional)', preview: 'Begin', fresh: 'new',
    open: 'Read', reply: 'Answer', acknowledge: 'Acknowledge', bytes: (size, type) => `${size} of ${type}: take it by tlsrt inbox read`, sent: 'Sent by this client', receipts: 'Receipts',
    states: { waiting: 'waits', delivered: 'delivered', read: 'read', acknowledged: 'acknowledged', expired: 'expired unread', dead: 'given up' }, state: 'State', dead: 'Waits for other hosts, or was given up', why: 'Why',
    retry: 'Try again now', drop: 'Give it up', dropSure: (to) => `Give up the message to ${to}? It goes to no further host.`, write: 'Write a message', body: 'Text', attach: 'Files with it', send: 'Send this message',
    answers: (who, id) => `answers ${who}, message ${id}`, unsent: (name) => `${name} was not sent, so the message was not either: press Send again, it goes on`, unopened: (who) => `No one has looked into the mailbox of ${who} yet: the name may be wrong.`,
  },
  notices: {
    which: 'Which', open: 'open ones', all: 'all', comment: 'Comment of an acknowledgement', list: 'Notifications, the newest first', none: 'There is none.', severity: 'Severity', what: 'What', state: 'State', acknowledge: 'Acknowledge', older: 'Older', newest: 'The newest',
    severities: { info: 'info', warning: 'warning', error: 'error', critical: 'critical' }, states: { open: 'open', acknowledged: 'acknowledged', withdrawn: 'withdrawn', expired: 'expired' }, times: (count) => `${count} times`,
  },
  network: {
    'external/configuration': 'Interfaces as declared', 'external/firewall': 'Firewall as declared', reachability: 'Reachability', links: 'Links', addresses: 'Addresses', routes: 'Routes', dns: 'Names', status: 'State', history: 'Decisions', governors: 'Governors',
    denied: 'Connections that were refused', none: 'None among the last events.', kept: (number, who) => `Revision ${number} is kept, confirmed by ${who}.`, nothing: 'Nothing was confirmed yet.', differs: 'It differs from what was confirmed:',
    changes: 'What would be done:', warnings: 'What that cuts off:', same: 'All is as declared.', apply: 'Do it on trial', sure: 'Do it on trial? It is undone by itself unless you confirm it in time, also when this page is lost.',
    confirm: (number) => `Keep revision ${number}`, undo: 'Undo it now', left: (number, seconds) => `Revision ${number} is on trial: in ${seconds} s it is undone by itself, unless you keep it.`, over: (number) => `The time of revision ${number} is over: it is being undone.`,
  },
  past: {
    title: 'The last hour and day, as the host has kept them', spans: { hour: 'Last hour', day: 'Last day' }, nothing: 'nothing is kept yet', table: (name) => `${name} as a table`, heads: ['Time', 'Least', 'Mean', 'Most', 'Known'],
    series: { frames: 'frames a second', refused: 'refused frames a second', memory: 'memory', lateness: 'lateness of the slowest process', active: 'processes active',
      received: 'received by the network', sent: 'sent to the network', dropped: 'packets lost or wrong, a second', charge: 'charge of the battery', watts: 'watts of the batteries', celsius: 'warmest place' },
    says: (name, now, most) => `${name}: ${now}, at most ${most}`, ago: (from, to) => `${from} to ${to} ago`,
  },
  store: {
    namespace: 'Namespace (empty: that of the store)', prefix: 'Keys that begin with', list: 'Keys', key: 'Key', none: 'There is no key here.', look: 'Show', next: 'The next keys', first: 'The first keys',
    is: (key, revision) => `${key}, revision ${revision}`, was: (key, revision) => `${key}, as it was at revision ${revision}`, expires: (seconds) => `expires in ${seconds} s`, history: 'What it was before', revision: 'Revision', at: 'At', size: 'Size',
    remove: 'Delete', removeSure: (key) => `Delete ${key}?`, changes: 'Changes since this screen is open, the latest first', what: 'What', operations: { put: 'put', delete: 'deleted', expire: 'expired' },
    keep: 'Keep a value', value: 'Value', ttl: 'For so many seconds (empty: for good)', json: 'JSON is kept as what it says, all else as text.', put: 'Put it', putSure: (key) => `Put ${key}? What it holds now is replaced.`,
  },
  units: {
    list: 'Units of systemd', unit: 'Unit', state: 'State', detail: 'In detail', says: 'Description', none: 'There is no unit in the options of secondary/services.', look: 'Look', commands: 'Commands that can be run', command: 'Command', runs: 'What it runs',
    run: 'Run now', runSure: (name) => `Run ${name} now?`, words: (name) => `Words of ${name}`, acts: { start: 'Start', stop: 'Stop', restart: 'Restart', reload: 'Reload', enable: 'Enable', disable: 'Disable' },
    sure: { stop: (name) => `Stop ${name}? What it is doing now ends.`, restart: (name) => `Restart ${name}? What it is doing now ends.`, disable: (name) => `Have ${name} start with the machine no more?` },
  },
  jobs: {
    list: 'Calls that this client has put off, the next one first', none: 'This client has put nothing off. A call is put off where it is made: on Methods, choose when.', call: 'Call', when: 'When', next: 'Next', runs: 'Runs', last: 'Last', outcome: 'Outcome',
    once: 'once', every: (time) => `every ${time}`, outcomes: { '': '–', done: 'done', running: 'running', unknown: 'not known', paused: 'paused' }, look: 'Show', pause: 'Pause', resume: 'Resume', remove: 'Remove', removeSure: (what, id) => `Remove ${what} (${id})? It runs no more, and what is known of its runs is forgotten.`,
    silent: (count) => `${count} ${count === 1 ? 'component' : 'components'} did not say which jobs they have`, detail: (what, id) => `${what}, job ${id}`, upcoming: 'Next times', missed: 'A run that is late', late: { once: 'is made up for', skip: 'is left out' }, lateBy: (time) => `is made up for if it is late by at most ${time}`,
    pausedBy: 'Paused by', args: 'Arguments', id: 'Job', history: 'Past runs, the newest first', began: 'Began', took: 'Took',
    time: 'When', kinds: { now: 'now', in: 'after a while', at: 'at a time', every: 'again and again', cron: 'as cron has it' }, hints: { in: 'After how long: 90s, 10m, 2h, 7d', at: 'Date and time, of this browser', every: 'How often: 30s or more, 10m, 2h, 7d', cron: 'Five fields, in the time zone of the host: 30 6 * * *' },
    lateness: 'Late by at most, or once, or skip', put: 'Put it off', putSure: (what) => `Put off ${what}? The host calls it then, with the rights that this client has at that time, also when this page is closed.`, isPut: (id) => `It is put off, as job ${id}: the screen Jobs shows it.`,
  },
  updates: {
    pending: 'upgrades', security: 'for security', lists: 'lists are of before', reboot: 'start the machine anew', yes: 'yes', no: 'no', list: 'What apt would do now', name: 'Package', installed: 'Installed', version: 'Upgrade to', kind: 'For',
    isSecurity: 'security', isOther: 'other', none: 'All packages are up to date, as far as the lists of this host say.', cut: (count, all) => `the first ${count} of ${all}`, looks: 'This service can only look: its options name no folders for orders.',
    apply: (count) => `Upgrade these ${count}`, sure: (count, id) => `Have exactly this plan (${id}, ${count} packages) done? It goes on without this page, and cannot be undone here.`, refresh: 'Ask the archives for new lists', last: 'What came of the last order', said: 'What apt says',
  },
  secrets: {
    namespace: 'Namespace (empty: your own)', list: 'Secrets: names and versions, never values', name: 'Name', version: 'Version', at: 'Put', none: 'There is no secret here.', versions: 'Versions', history: (name) => `Versions of ${name}`,
    rotate: 'Make a new random value', rotateSure: (name) => `Make a new random value of ${name}? Who has the old one has a wrong one then.`, remove: 'Delete for good', removeSure: (name) => `Delete ${name} with all its versions for good?`,
    keep: 'Keep a value', value: 'Value', put: 'Keep it as the present version', unseen: 'It is not shown again, here or anywhere; the command line takes it from standard input.',
  },
}
