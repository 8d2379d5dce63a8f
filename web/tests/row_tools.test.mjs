/** Tests of what is done with rows at once, without a page: `node --test web/tests`. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { madeOf } from '../core/made_of.js'
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

function made(id, values, sources = [], more = {}) {
  const widgets = Object.entries(values).map(([name, value]) => ({ name, value }))
  return { id, type: 'x', mode: 0, widgets, inputs: sources.map((_, slot) => ({ name: `in${slot}` })), getInputNode: slot => sources[slot], ...more }
}

test('a result is of the values of its node and of all before it, not of where they lie or what only shows', () => {
  const loader = { file: 'a' }
  const of = (strength, file, more) => madeOf(made(2, { strength }, [made(1, { ...loader, file })], more))
  assert.equal(of(1, 'a'), of(1, 'a', { pos: [5, 5], title: 'other' }))
  assert.notEqual(of(1, 'a'), of(0.5, 'a'))
  assert.notEqual(of(1, 'a'), of(1, 'b'))
  assert.notEqual(of(1, 'a'), of(1, 'a', { mode: 4 }))
  assert.notEqual(of(1, 'a'), madeOf(made(2, { strength: 1 })))
  const shows = { name: 'result', value: 'x', serialize: false }
  const node = made(2, { strength: 1 })
  assert.equal(madeOf(node), madeOf({ ...node, widgets: [...node.widgets, shows] }))
})

test('nodes in a ring end the walk', () => {
  const node = made(1, {}, [null])
  node.getInputNode = () => node
  assert.ok(madeOf(node))
})
