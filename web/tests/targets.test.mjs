/** Tests of target filters and their sliders: `node --test web/tests`; `tests/stack/test_target_table.py` reads the same table. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { PRESETS, factorOf, groupsOf, parseTargets, presetSliders, slidersOf, targetsFault, targetsOf, targetsText } from '../core/targets.js'

const table = JSON.parse(readFileSync(new URL('targets.json', import.meta.url)))

test('the factors are those that lora_core gives', () => {
  for (const { targets, at } of table.factors) {
    for (const [block, kind, factor] of at) {
      const got = factorOf(parseTargets(targets), block, kind)
      assert.ok(Math.abs(got - factor) < 1e-12, `${JSON.stringify(targets)} at ${block} ${kind}: ${got}`)
    }
  }
})

test('what lora_core refuses is a fault', () => {
  for (const text of table.faults) assert.ok(targetsFault(text), text)
})

test('sliders stand where a filter says, and say it again in the same words', () => {
  for (const { case: name, num_blocks, targets, groups, kinds } of table.sliders) {
    assert.deepEqual(slidersOf(targets, num_blocks), { groups, kinds }, name)
    assert.equal(targetsOf({ groups, kinds }, num_blocks), targets, name)
  }
})

test('what the sliders cannot say is left to the text', () => {
  for (const { num_blocks, targets } of table.only_text) assert.equal(slidersOf(targets, num_blocks), null, targets)
})

test('no filter is all sliders at 1, and all sliders at 1 are no filter', () => {
  const sliders = slidersOf(null, 40)
  assert.equal(sliders.groups.length, 10)
  assert.equal(targetsOf(sliders, 40), null)
})

test('the ranges hold every block once', () => {
  for (const numBlocks of [1, 6, 12, 30, 40]) {
    const blocks = groupsOf(numBlocks).flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, index) => first + index))
    assert.deepEqual(blocks, Array.from({ length: numBlocks }, (_, index) => index))
  }
})

test('presets are what sliders can say, for every depth', () => {
  for (const [name, preset] of PRESETS) {
    for (const numBlocks of [6, 30, 40]) {
      const sliders = presetSliders(preset, numBlocks)
      const targets = targetsOf(sliders, numBlocks)
      assert.deepEqual(slidersOf(targets, numBlocks), sliders, name)
    }
  }
  assert.equal(targetsOf(presetSliders(Object.fromEntries(PRESETS)['second half'], 40), 40), '0-19=0')
})

test('an object shows as text, and what is no filter as JSON', () => {
  assert.equal(targetsText({ rules: [{ blocks: [0, 9], kind: 'ffn', factor: 0.5 }], otherwise: 0 }), '0-9.ffn=0.5,otherwise=0')
  assert.equal(targetsText({ rules: [{ kind: 'fnn', factor: 0.5 }] }), '{"rules":[{"kind":"fnn","factor":0.5}]}')
  assert.equal(targetsText(undefined), '')
})
