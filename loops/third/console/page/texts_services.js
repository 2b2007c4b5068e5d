// What the screens of services say in words of their own: a part of texts.js.

export const serviceScreens = { files: 'Files', messages: 'Messages', notices: 'Notifications', store: 'Store', secrets: 'Secrets', jobs: 'Jobs', network: 'Network', power: 'Power', units: 'Services' }

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
    states: { waiting: 'waits', delivered: 'delivered', read: 'read', acknowledged: 'acknowledged', dead: 'given up' }, state: 'State', dead: 'Waits for other hosts, or was given up', why: 'Why',
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
  secrets: {
    namespace: 'Namespace (empty: your own)', list: 'Secrets: names and versions, never values', name: 'Name', version: 'Version', at: 'Put', none: 'There is no secret here.', versions: 'Versions', history: (name) => `Versions of ${name}`,
    rotate: 'Make a new random value', rotateSure: (name) => `Make a new random value of ${name}? Who has the old one has a wrong one then.`, remove: 'Delete for good', removeSure: (name) => `Delete ${name} with all its versions for good?`,
    keep: 'Keep a value', value: 'Value', put: 'Keep it as the present version', unseen: 'It is not shown again, here or anywhere; the command line takes it from standard input.',
  },
}
