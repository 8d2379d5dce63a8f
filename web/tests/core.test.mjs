/** Tests of what the rows do without a page: `node --test web/tests`. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { linesOf } from '../core/curve.js'
import { placeOf, refusals, rowAt } from '../core/faults.js'
import { folderOf, matching, shortened } from '../core/file_list.js'
import { rowsOf, withOurKeys } from '../core/foreign_rows.js'
import { addedTo, appliedTo, changed, duplicateOf, newLora, twinOf, withFile } from '../core/lora_row.js'
import { freeName, moved, parseRows, writeRows } from '../core/row_list.js'
import { accountsOf, inShort } from '../core/run_account.js'
import { textOf } from '../core/said.js'
import { scheduleFault, scheduleFaultOf, scheduleText, scheduleValue } from '../core/schedule.js'

const foreign = JSON.parse(readFileSync(new URL('foreign_rows.json', import.meta.url)))

test('what is written reads back the same, keys unknown here included', () => {
  const rows = [{ path: 'a.safetensors', weight: 0.8, odd: { x: [1] } }, { path: 'b.safetensors', weight: -1 }]
  assert.deepEqual(parseRows(writeRows(rows)), { rows, fault: null })
  assert.equal(writeRows([]), '[]')
})

test('text that is no list of objects is a fault, never rows', () => {
  for (const text of ['{', '{"path": "a"}', '[1]', '[null]', '[["a"]]', '"a"']) {
    assert.ok(parseRows(text).fault, text)
    assert.deepEqual(parseRows(text).rows, [])
  }
  assert.deepEqual(parseRows('  '), { rows: [], fault: null })
})

test('a row holds path, weight and only what differs from the defaults', () => {
  const row = changed(newLora('a.safetensors'), { enabled: false, applies_to: 'both', schedule: 'fade_in' })
  assert.deepEqual(row, { path: 'a.safetensors', weight: 1, enabled: false, applies_to: 'both', schedule: 'fade_in' })
  assert.deepEqual(changed(row, { enabled: true, applies_to: 'auto', schedule: null }), newLora('a.safetensors'))
})

test('other spellings become ours when a row is changed, and a key given twice stays for lora_core to refuse', () => {
  assert.deepEqual(changed({ lora_path: 'a', strength: 2, low_noise_strength: 1 }, { weight: 3 }), { path: 'a', weight: 3, low_noise_weight: 1 })
  assert.deepEqual(changed({ path: 'a', weight: 1, strength: 2 }, {}), { path: 'a', weight: 1, strength: 2 })
})

test('a second strength goes where it could never act', () => {
  const row = { path: 'a', weight: 1, low_noise_weight: 0.5 }
  assert.deepEqual(appliedTo(row, 'high_noise'), { path: 'a', weight: 1, applies_to: 'high_noise' })
  assert.equal(appliedTo(row, 'both').low_noise_weight, 0.5)
})

test('another file drops what was said of the old one', () => {
  const row = { path: 'a', weight: 0.3, low_noise_path: 'a_low', sha256: 'x', low_noise_sha256: 'y', name: 'style' }
  assert.deepEqual(withFile(row, 'b'), { path: 'b', weight: 0.3, name: 'style' })
})

test('rows of one stack never share a name', () => {
  const rows = [newLora('x/style.safetensors'), { path: 'b', weight: 1, name: 'style 2' }]
  assert.equal(duplicateOf(rows, 0).name, 'style 3')
  assert.equal(addedTo(rows, newLora('y/style.safetensors')).name, 'style 3')
  assert.equal(addedTo(rows, newLora('new.safetensors')).name, undefined)
  assert.equal(freeName('a', new Set(['a', 'a 2'])), 'a 3')
})

test('the twin is the file given, else the one found beside an auto row', () => {
  const twins = { high: 'low' }
  assert.deepEqual(twinOf({ path: 'high' }, twins), { file: 'low', found: true })
  assert.deepEqual(twinOf({ path: 'high', low_noise_path: 'own' }, twins), { file: 'own', found: false })
  for (const row of [{ path: 'high', applies_to: 'high_noise' }, { path: 'high', find_twin: false }, { path: 'other' }]) {
    assert.equal(twinOf(row, twins), null)
  }
})

test('a file that has a row of its own is nobody\'s twin', () => {
  const rows = [{ path: 'high' }, { lora: 'low' }]
  assert.equal(twinOf(rows[0], { high: 'low' }, rows), null)
})

test('rows of other tools are read as lora_core reads them', () => {
  for (const { case: name, form, row } of foreign) assert.deepEqual(withOurKeys(form), row, name)
  const two = [{ path: 'a' }, { path: 'b' }]
  assert.deepEqual(rowsOf(['a', { path: 'b' }]), two)
  assert.deepEqual(rowsOf({ lora_configs: two }), two)
  assert.deepEqual(rowsOf({ lora_1: { lora: 'a' }, lora_2: { lora: 'b' } }), [{ lora: 'a' }, { lora: 'b' }])
  assert.deepEqual(rowsOf('a'), [{ path: 'a' }])
  assert.deepEqual(parseRows('{"path": "a"}', rowsOf), { rows: [{ path: 'a' }], fault: null })
  assert.ok(parseRows('5', rowsOf).fault)
})

test('a row moves within the list and not out of it', () => {
  assert.deepEqual(moved(['a', 'b', 'c'], 0, 2), ['b', 'c', 'a'])
  assert.deepEqual(moved(['a', 'b', 'c'], 2, 0), ['c', 'a', 'b'])
  assert.deepEqual(moved(['a', 'b'], 0, -1), ['a', 'b'])
})

test('schedules are valid where lora_core reads them', () => {
  const good = ['0.8', 'constant', 'constant:0.8', 'fade_in', 'fade_out:0.9:0.6', 'linear:0:1', 'linear:0:1:0.9:0.6', 'keyframes:1=0.2,0.5=1',
    'hold:1=0,0.9=1', 'fade_out@steps', 'fade_in@steps:0.1:0.4', 'keyframes@steps:0=1,0.5=0.2', ' 1e-1 ', 'keyframes: 1 = 0.2 , 0 = -1']
  for (const text of good) assert.equal(scheduleFault(text), null, text)
  const bad = ['', 'fade_up', 'linear:0', 'linear:a:1', 'fade_out:0.6:0.9', 'fade_out@steps:0.9:0.6', 'fade_out:2:0.5', 'fade_in@sigma',
    'keyframes', 'keyframes:1', 'keyframes:1=0,1=1', 'keyframes:2=1', 'hold:a=1', '0.8:1', 'fade_in:0.9']
  for (const text of bad) assert.ok(scheduleFault(text), text)
})

test('a schedule shows as text, and no schedule as constant', () => {
  assert.equal(scheduleText(undefined), 'constant')
  assert.equal(scheduleText({ keyframes: [[1, 0.2], [0.5, 1]], axis: 'steps', interpolation: 'hold' }), 'hold@steps:1=0.2,0.5=1')
  assert.equal(scheduleValue(' constant '), null)
  assert.equal(scheduleValue('fade_in '), 'fade_in')
})

test('files are found by all words typed, those that begin with the first one first', () => {
  const files = ['x/my_neon_high.safetensors', 'neon_low.safetensors', 'other.safetensors']
  assert.deepEqual(matching(files, 'neon'), [files[1], files[0]])
  assert.deepEqual(matching(files, 'HIGH neon'), [files[0]])
  assert.equal(matching(files, ''), files)
})

test('a result is matched with the last rows of the stack, and not with a row that has changed since', () => {
  const file = (name, more) => ({ file: name, experts: { high_noise: 1 }, ranks: [8], summary: '180 tensors: 180 applied', reasons: [], ...more })
  const loras = [
    { name: 'before', enabled: true, files: [file('before.safetensors')] },
    { name: 'a', enabled: true, files: [file('a.safetensors'), file('a_low.safetensors')] },
    { name: 'b', enabled: false, files: [] }
  ]
  const [first, second] = accountsOf([{ path: 'x/a.safetensors' }, { path: 'b', enabled: false }], loras)
  const { counts, ranks, tone } = inShort(first)
  assert.deepEqual({ counts, ranks, tone }, { counts: '180+180', ranks: '8', tone: 'ok' })
  assert.equal(second, loras[2])
  assert.deepEqual(accountsOf([{ path: 'new.safetensors' }, { path: 'b' }], loras), [null, null])
  assert.deepEqual(accountsOf([], loras), [])
  assert.ok(inShort({ enabled: true, files: [file('a', { experts: {} })] }).isIdle)
  const said = [[{ say: 'all', with: {} }]]
  assert.equal(inShort({ enabled: true, files: [file('a')], said }, (english, form) => form?.say ?? english).detail.split('\n')[1], '  all')
})

test('what a node says is put into the words of a table, and what has none there stays English', () => {
  const table = { '{count} of {what}': '{what}中有 {count}', steps: '步', ', ': '，' }
  const line = { say: '{count} of {what}', with: { count: '2', what: { say: 'steps', with: {} } } }
  assert.equal(textOf(line, table), '步中有 2')
  assert.equal(textOf(line, {}), '2 of steps')
  assert.equal(textOf({ join: ', ', of: [line, 'x {y}', { say: 'none', with: {} }] }, table), '步中有 2，x {y}，none')
  assert.equal(textOf({ indent: '  ', of: { join: '\n', of: ['a', '', line] } }, table), '  a\n\n  步中有 2')
  assert.equal(textOf({ say: '{a}', with: { a: '{b}', b: 'c' } }, {}), '{b}')
})

test('a line that is wrapped breaks between words and Chinese signs, never before punctuation', () => {
  assert.equal(textOf({ wrap: 8, of: '强度曲线 abc 为零。' }, {}), '强度曲线\n  abc 为\n  零。')
  assert.equal(textOf({ wrap: 8, of: '一二三四。五' }, {}), '一二三四。\n  五')
  assert.equal(textOf({ wrap: 9, of: 'one two three' }, {}), 'one two\n  three')
})

test('the Chinese names the same things in braces', async () => {
  const { CHINESE } = await import('../words_zh.js')
  const names = text => [...text.matchAll(/\{\w+\}/g)].map(String).toSorted()
  for (const [phrase, words] of Object.entries(CHINESE)) assert.deepEqual(names(words), names(phrase), phrase)
})

test('losses are lines from the first step to the last, the lowest at the bottom, spikes cut off at the top', () => {
  const trained = { high_noise: Array.from({ length: 100 }, (_, index) => [index + 1, index === 0 ? 90 : 1 + (index % 2)]) }
  const { lines, low, high } = linesOf({ trained, held_out: { low_noise: [[0, 1.5], [100, 1]] } }, 100, 208, 108)
  assert.deepEqual([low, high], [1, 2])
  assert.deepEqual(lines.map(line => [line.kind, line.expert]), [['trained', 'high_noise'], ['held_out', 'low_noise']])
  assert.deepEqual(lines[1].points, [[4, 54], [204, 104]])
  assert.deepEqual(lines[0].points[0], [6, 4])
  assert.deepEqual(linesOf({ trained: {}, held_out: {} }, 10, 100, 50), { lines: [], low: null, high: null })
})

test('a fault is about the row that it names, by its place, its file or its name', () => {
  const rows = [{ path: 'x/a.safetensors' }, { lora: 'b.safetensors', strength: 1 }, { path: 'c', name: 'face' }]
  assert.equal(rowAt(rows, "ApplyLoraStack entry 2: unknown key 'strenght' (nearest: 'strength')."), 1)
  assert.equal(rowAt(rows, "ApplyLoraStack entry 3 schedule: unknown shape 'sideways'."), 2)
  assert.equal(rowAt(rows, 'x/a.safetensors: no such file in loras.'), 0)
  assert.equal(rowAt(rows, 'b.safetensors: was made for another model.'), 1)
  assert.equal(rowAt(rows, 'face: no such expert.'), 2)
  assert.equal(rowAt(rows, "stack: two LoRAs are named 'a'. Give one of them another name."), -1)
  assert.equal(placeOf('LoadWanModel: no VAE was chosen.'), 'LoadWanModel')
  assert.equal(placeOf('x/a.safetensors: no such file.'), null)
})

test('of a check that saw several values only the one it is about is refused', () => {
  const fault = (input, text) => ({ type: 'custom_validation_failed', details: `${input} - ${text}`, extra_info: { input_name: input } })
  const text = 'wan_2.1_vae.safetensors: is no part of it.'
  const hosts = { type: 'value_not_in_list', details: 'x', extra_info: { input_name: 'low_noise' } }
  const errors = { 1: { errors: [fault('vae', text), fault('high_noise', text), hosts] }, 2: { errors: [hosts] } }
  const prompt = { 1: { inputs: { vae: 'wan_2.1_vae.safetensors', high_noise: 'pocket' } } }
  assert.deepEqual(refusals(errors, prompt), { 1: [text] })
  assert.deepEqual(errors[1].errors, [fault('vae', text), hosts])
  const boundary = 'boundary: abc is no number.'
  const two = { 3: { errors: [fault('boundary', boundary), fault('steps', boundary)] } }
  refusals(two, { 3: { inputs: { boundary: 'abc', steps: 6 } } })
  assert.deepEqual(two[3].errors, [fault('boundary', boundary)])
  const both = { 4: { errors: [fault('a', 'they differ.'), fault('b', 'they differ.')] } }
  refusals(both, { 4: { inputs: { a: 1, b: 2 } } })
  assert.equal(both[4].errors.length, 2)
})

test('a schedule in words is checked, an object is left to the server', () => {
  assert.match(scheduleFaultOf('sideways'), /unknown shape/)
  assert.equal(scheduleFaultOf('fade_out'), null)
  assert.equal(scheduleFaultOf({ keyframes: [] }), null)
  assert.equal(scheduleFaultOf(null), null)
})

test('a pair is offered once, by its high-noise file, unless only the other is asked for', () => {
  const files = ['a/style_high.safetensors', 'a/style_low.safetensors', 'face.safetensors']
  const twins = { 'a/style_high.safetensors': 'a/style_low.safetensors' }
  assert.deepEqual(matching(files, '', twins), [files[0], files[2]])
  assert.deepEqual(matching(files, 'style', twins), [files[0]])
  assert.deepEqual(matching(files, 'low', twins), [files[1]])
})

test('a long name keeps both its ends, and a folder is what comes before the name', () => {
  const name = 'wan2.2_t2v_a14b_mystyle_v3_HIGH_e40.safetensors'
  assert.equal(shortened(name, 30).length, 30)
  assert.match(shortened(name, 30), /^wan2.*….*HIGH_e40\.safetensors$|^wan2.*….*e40\.safetensors$/)
  assert.equal(shortened(name, 60), name)
  assert.equal(folderOf('wan\\2.2/style.safetensors'), 'wan\\2.2')
  assert.equal(folderOf('style.safetensors'), '')
})
