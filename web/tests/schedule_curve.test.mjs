/** Tests of the curve beside a schedule: `node --test web/tests`; `tests/stack/test_schedule_curves.py` reads the same table. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { curveOf, factorAt, scheduleOf } from '../core/schedule_curve.js'

const cases = JSON.parse(readFileSync(new URL('schedule_curves.json', import.meta.url)))

test('the factors are those that lora_core computes', () => {
  for (const { schedule, axis, at } of cases) {
    const read = scheduleOf(schedule)
    assert.equal(read.axis, axis, JSON.stringify(schedule))
    for (const [position, factor] of at) {
      assert.ok(Math.abs(factorAt(read, position) - factor) < 1e-9, `${JSON.stringify(schedule)} at ${position}: ${factorAt(read, position)}`)
    }
  }
})

test('what is no schedule has no curve', () => {
  for (const value of [null, undefined, '', 'sideways', 'fade_out:0.5:0.9', 'keyframes:1', {}, { keyframes: [] }, { keyframes: [[1, 'a']] }]) {
    assert.equal(scheduleOf(value), null, JSON.stringify(value))
  }
})

test('a curve runs from the start of a run at the left to its end at the right, the full factor on top', () => {
  assert.deepEqual(curveOf(scheduleOf('fade_out'), 62, 18), { points: [[1, 1], [1, 1], [31, 17], [61, 17]], low: 0, high: 1 })
  assert.deepEqual(curveOf(scheduleOf('fade_in@steps'), 62, 18).points.at(-1), [61, 1])
})

test('a held factor jumps, and a factor beyond 0 to 1 stretches the box', () => {
  assert.deepEqual(curveOf(scheduleOf('hold:1=0,0.5=1'), 62, 18).points, [[1, 17], [1, 17], [31, 17], [31, 1], [61, 1]])
  const { low, high } = curveOf(scheduleOf('linear:-1:3'), 62, 18)
  assert.deepEqual([low, high], [-1, 3])
})
