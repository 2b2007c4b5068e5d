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
}
