/** Tests of rows that are handed over by other tools: `node --test web/tests`. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileNamed, hasOthersRows, hasRows, othersRows, rowsInText, rowsOfFiles, withAdded } from '../core/handed_rows.js'

const FILES = ['wan/Style_HIGH.safetensors', 'face.pt', 'wan\\odd\\neon.safetensors', 'face.v2.safetensors']

test('tags become rows whose names are looked up in the list, with or without folder, extension and case', () => {
  const { rows, missing } = rowsInText('a cat, <lora:style_high:0.8>, <lora:face> <lora:wan/odd/neon:-1>', FILES)
  assert.deepEqual(rows, [{ path: FILES[0], weight: 0.8 }, { path: 'face.pt', weight: 1 }, { path: FILES[2], weight: -1 }])
  assert.deepEqual(missing, [])
  assert.equal(fileNamed('face.v2', FILES), 'face.v2.safetensors')
})

test('a tag may name the expert, and its second strength is the text encoder\'s and is counted where it differs', () => {
  const { rows, numTextStrengths } = rowsInText('<lora:|high_noise|face:0.8:0.6><lora:face:0.7:0.7><lora:face:0.5:lbw=1>', FILES)
  assert.deepEqual(rows.map(row => [row.weight, row.applies_to]), [[0.8, 'high_noise'], [0.7, undefined], [0.5, undefined]])
  assert.equal(numTextStrengths, 1)
})

test('a name that is not in the list becomes a row of a file that is missing', () => {
  const { rows, missing } = rowsInText('<lora:gone v1.2:1>', FILES)
  assert.deepEqual(rows, [{ path: 'gone v1.2.safetensors', weight: 1 }])
  assert.deepEqual(missing, ['gone v1.2.safetensors'])
})

test('copied rows of Power Lora Loader, of Lora-Manager and of our own text are read', () => {
  const rgthree = { lora_1: { on: false, lora: 'face.pt', strength: 0.7, strengthTwo: 0.2 }, lora_2: { on: true, lora: 'None', strength: 1 } }
  assert.deepEqual(rowsInText(JSON.stringify(rgthree), FILES), { rows: [{ path: 'face.pt', weight: 0.7, enabled: false }], missing: [], numTextStrengths: 1 })
  const manager = [{ name: 'Style_HIGH', strength: '0.55', active: true, expanded: false, clipStrength: '0.55', locked: false }]
  assert.deepEqual(rowsInText(JSON.stringify({ __value__: manager }), FILES).rows, [{ path: FILES[0], weight: 0.55 }])
  const own = [{ path: 'face.pt', weight: 0.5, schedule: 'fade_out', targets: 'ffn=0' }]
  assert.deepEqual(rowsInText(JSON.stringify(own), FILES).rows, own)
})

test('names of files become rows, and files that are not in the list are named', () => {
  assert.deepEqual(rowsInText('face.pt\n"neon.safetensors"\n', FILES).rows.map(row => row.path), ['face.pt', FILES[2]])
  assert.deepEqual(rowsOfFiles(['face.pt', 'new.safetensors', 'notes.txt'], FILES), {
    rows: [{ path: 'face.pt', weight: 1 }], missing: ['new.safetensors'], numTextStrengths: 0
  })
})

test('what holds no rows is left alone: a prompt, a workflow, other JSON', () => {
  for (const text of ['', 'a cat', 'see face.pt, please', '{"nodes": [], "links": []}', '[1, 2]', '[null]', '{', '[]']) {
    assert.equal(rowsInText(text, FILES), null, text)
  }
  assert.equal(rowsOfFiles(['workflow.json', 'cat.png'], FILES), null)
})

test('the rows of other packs\' nodes are found among the values of their widgets', () => {
  const values = [{}, { type: 'PowerLoraLoaderHeaderWidget' }, { on: true, lora: 'face.pt', strength: 0.4, strengthTwo: null }, {}, '']
  assert.deepEqual(othersRows('Power Lora Loader (rgthree)', values, FILES).rows, [{ path: 'face.pt', weight: 0.4 }])
  const manager = ['<lora:face:0.4>', [{ name: 'face', strength: 0.4, active: false, clipStrength: 0.4 }]]
  assert.deepEqual(othersRows('Lora Loader (LoraManager)', manager, FILES).rows, [{ path: 'face.pt', weight: 0.4, enabled: false }])
  assert.deepEqual(othersRows('Lora Loader (LoraManager)', undefined, FILES).rows, [])
  assert.ok(hasRows('Power Lora Loader (rgthree)', values) && hasRows('Lora Loader (LoraManager)', manager))
  assert.ok(!hasRows('Lora Loader (LoraManager)', undefined) && !hasRows('Power Lora Loader (rgthree)', [{ lora: 'None' }]))
  assert.ok(!hasOthersRows('KSampler'))
})

test('rows added to others have names of their own', () => {
  const rows = withAdded([{ path: 'face.pt', weight: 1 }], [{ path: 'face.pt', weight: 0.5 }, { path: 'x/face.pt', weight: 1 }])
  assert.deepEqual(rows.map(row => row.name), [undefined, 'face 2', 'face 3'])
})
