/** Tests of regions and times: `node --test web/tests`; `tests/stack/test_place_table.py` reads the same table. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parseRegion, parseTime, placesOf, regionFault, timeCurveOf, timeFault } from '../core/places.js'

const table = JSON.parse(readFileSync(new URL('places.json', import.meta.url)))

test('places and boxes are where lora_core has them, and what looks like a file is one', () => {
  for (const [text, box] of table.boxes) assert.deepEqual(parseRegion(text).box, box, text)
  for (const text of table.rest) assert.deepEqual([parseRegion(text).box, parseRegion(text).path], [null, null], text)
  for (const text of table.files) assert.ok(parseRegion(text).path, text)
  assert.deepEqual(parseRegion('not left; soft=0.1'), { box: [0, 0, 0.5, 1], path: null, soft: 0.1, inverted: true })
})

test('times are read as lora_core reads them', () => {
  for (const [text, keyframes, unit, hard] of table.times) assert.deepEqual(parseTime(text), { keyframes, unit, hard }, text)
})

test('what lora_core refuses is a fault; nothing and other forms are none', () => {
  for (const text of table.region_faults) assert.ok(regionFault(text), text)
  for (const text of table.time_faults) assert.ok(timeFault(text), text)
  for (const value of [null, undefined, '', ' ', { box: [0, 0, 1, 1] }]) assert.equal(regionFault(value) ?? timeFault(value), null)
})

test('a row tells where and when it acts in a few words', () => {
  assert.equal(placesOf({ region: 'left', time: 'from 1s' }), 'left; from 1s')
  assert.equal(placesOf({}), '')
})

test('a curve over time begins at the left, and ends behind its last keyframe', () => {
  const { points, end } = timeCurveOf(parseTime('from 2s'), 62, 22)
  assert.equal(end, 3)
  assert.deepEqual(points, [[1, 21], [41, 21], [41, 1], [61, 1]])
})
