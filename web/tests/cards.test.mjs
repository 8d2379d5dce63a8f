/** Tests of the search of LoRA files, of what a card tells, and of the prompt that words go into. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { factsOf, sizeText, strengthText } from '../core/card_facts.js'
import { matching } from '../core/file_list.js'
import { folded, queryOf } from '../core/lora_search.js'
import { promptsBehind, promptsIn, textOf, withWords } from '../core/prompt_nodes.js'

const FILES = ['wan/style/neon_high_e40.safetensors', 'wan/motion/orbit_low_e4.safetensors', 'old\\wan_face.safetensors']
const FACTS = {
  [FILES[0]]: [['wan2.2-t2v-a14b'], ['Neon city', 'style']],
  [FILES[1]]: [['wan-14b', 'Wan Video 2.2 I2V-A14B'], ['motion']],
  [FILES[2]]: [['Flux'], []]
}
const found = typed => matching(FILES, typed, {}, FACTS)

test('files are searched by a part of the path, a folder, and by several words at once', () => {
  assert.deepEqual(found('wan'), [FILES[2], FILES[0], FILES[1]])
  assert.deepEqual(found('wan/'), FILES.slice(0, 2))
  assert.deepEqual(found('style/ neon'), [FILES[0]])
  assert.deepEqual(found('wan/motion/orbit'), [FILES[1]])
  assert.deepEqual(found('old/wan_face'), [FILES[2]])
})

test('a part of a path may be written with the separators of either system', () => {
  assert.deepEqual(found('old\\wan'), [FILES[2]])
  assert.deepEqual(found('style\\neon'), [FILES[0]])
})

test('files are searched by the model, however its name is written, and by tags', () => {
  assert.deepEqual(found('base:wan2.2'), FILES.slice(0, 2))
  assert.deepEqual(found('base:I2V-A14B'), [FILES[1]])
  assert.deepEqual(found('base:wan2.2 tag:style'), [FILES[0]])
  assert.deepEqual(found('tag:neon'), [FILES[0]])
  assert.deepEqual(found('base:'), FILES)
  assert.deepEqual(matching(FILES, 'base:wan', {}, {}), [])
  assert.equal(folded('Wan Video 2.2 T2V-A14B'), folded('wan2.2-t2v-a14b'))
})

test('files are searched by a regular expression, which may hold spaces, and a wrong one says why', () => {
  assert.deepEqual(found('/high.*e40/'), [FILES[0]])
  assert.deepEqual(found('/E4\\./ orbit'), [FILES[1]])
  assert.deepEqual(found('/neon|wan face/'), [FILES[0]])
  assert.deepEqual(found('/(/'), [])
  assert.match(queryOf('/(/').fault, /regular expression/i)
  assert.deepEqual(found('/e40'), [])
})

test('only a search by model or tag waits for the cards', () => {
  assert.deepEqual(['wan/', '/a/', 'neon', ''].map(typed => queryOf(typed).needsFacts), [false, false, false, false])
  assert.ok(queryOf('neon base:w').needsFacts && queryOf('tag:').needsFacts)
})

test('a card tells what is known and nothing of what is not', () => {
  const card = { base: 'wan-14b', base_told: 'Wan Video', sources: { base_told: 'Civitai' }, expert: 'both', expert_source: '', purpose: '', ranks: [4, 8, 16, 32, 64], kinds: ['lora', 'dora'], tags: [], training: { steps: '20' } }
  assert.deepEqual(factsOf(card), [
    ['base', 'wan-14b; Wan Video (Civitai)'], ['expert', 'both', true], ['rank', '4 – 64'], ['kind', 'dora'], ['steps of the training', '20']
  ])
  assert.deepEqual([0, 999, 1500, 306807976, 2e9].map(sizeText), ['0 B', '999 B', '1.5 kB', '307 MB', '2.0 GB'])
  assert.deepEqual([strengthText({ low: 1, high: 1 }), strengthText({ low: 0.5, high: 1 })], ['1', '0.5 – 1'])
})

test('words go behind a prompt, each once', () => {
  assert.equal(withWords('', ['neon']), 'neon')
  assert.equal(withWords('a man, ', ['neon', 'Rain']), 'a man, neon, Rain')
  assert.equal(withWords('a man, Neon', ['neon']), 'a man, Neon')
})

/** Make a graph of nodes: name -> [type, inputs as [name, type, source, slot], outputs as types, widgets]. */
function graphOf(table) {
  const nodes = Object.fromEntries(Object.entries(table).map(([name, [type, inputs, outputs, widgets]]) => [name, {
    name, type, widgets, outputs: outputs.map(output => ({ type: output })),
    inputs: inputs.map(([input, kind, source]) => ({ name: input, type: kind, link: source ? 1 : null })),
    getInputNode: slot => nodes[inputs[slot][2]] ?? null,
    getOutputNodes: slot => Object.values(table).map((row, at) => row[1].some(([, , source, from = 0]) => source === name && from === slot) && Object.values(nodes)[at]).filter(Boolean)
  }]))
  return nodes
}

const encode = text => ['CLIPTextEncode', [], ['CONDITIONING'], [{ name: 'text', value: text }]]

test('the prompt is the positive one of the sampler behind the node, through whatever is between', () => {
  const nodes = graphOf({
    stack: ['ApplyLoraStack', [], ['WAN_MODEL', 'STRING']],
    route: ['LoraRouteByNoise', [['model', 'WAN_MODEL', 'stack']], ['WAN_MODEL']],
    image: ['WanImageToVideo', [['positive', 'CONDITIONING', 'good'], ['negative', 'CONDITIONING', 'bad']], ['CONDITIONING', 'CONDITIONING']],
    sampler: ['Sampler6Step', [['model', 'WAN_MODEL', 'route'], ['positive', 'CONDITIONING', 'image'], ['negative', 'CONDITIONING', 'bad']], ['LATENT']],
    good: encode('a man'),
    bad: encode('blurry'),
    other: encode('elsewhere')
  })
  assert.deepEqual(promptsBehind(nodes.stack), [nodes.good])
  assert.deepEqual(promptsBehind(nodes.other), [])
  assert.equal(promptsIn({ nodes: Object.values(nodes) }).length, 3)
})

test('the text of a prompt may come from the node that is linked to it', () => {
  const nodes = graphOf({
    text: ['PrimitiveStringMultiline', [], ['STRING'], [{ name: 'value', value: 'a man' }]],
    prompt: ['CLIPTextEncode', [['text', 'STRING', 'text']], ['CONDITIONING'], [{ name: 'text', value: '' }]]
  })
  assert.equal(textOf(nodes.prompt), nodes.text.widgets[0])
  assert.equal(textOf(nodes.text), null)
})
