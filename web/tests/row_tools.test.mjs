/** Tests of what is done with rows at once, without a page: `node --test web/tests`. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onlyOn, toggledAll } from '../core/row_edits.js'

const rows = [{ lora: 'a.pt', on: true }, { path: 'b.pt', weight: 1, enabled: false }, { path: '', weight: 1 }]

test('all rows go off if any is on, and on if none is; a row without a file stays the same object', () => {
  const off = toggledAll(rows)
  assert.deepEqual(off.slice(0, 2), [{ path: 'a.pt', enabled: false }, { path: 'b.pt', weight: 1, enabled: false }])
  assert.equal(off[2], rows[2])
  assert.deepEqual(toggledAll(off).map(row => row.enabled), [undefined, undefined, undefined])
})

test('one row alone is on', () => {
  assert.deepEqual(onlyOn(rows, 1).map(row => row.enabled), [false, undefined, undefined])
})
