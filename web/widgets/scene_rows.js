/**
 * The rows of SceneLoras' `scenes`.
 *
 * What each control is called (N counts from 1):
 *   "scene N prompt"    text field of two lines
 *   "scene N length"    spinbutton, empty for the node's own length
 *   "scene N seed"      spinbutton, empty for the node's own seed
 *   "scene N preset"    combobox with free text: a saved stack; a scene that lists its LoRAs itself says so instead
 *   "scene N move", "scene N duplicate", "scene N remove"   buttons
 *   "add scene", "edit as text"   buttons; "scene list as text" the text field
 */

import { comboField } from '../controls/combo_field.js'
import { el, iconButton } from '../controls/dom.js'
import { textField } from '../controls/text_field.js'
import { presetNames } from '../host.js'
import { say } from '../words.js'
import { moveHandle } from './move_handle.js'

/** Return the kind of row; `options()` gives the input's options. */
export function sceneRows(options) {
  const presets = () => options().presets ?? presetNames()

  function row(context, index) {
    const own = () => context.rows[index]
    const called = part => say(`scene {n} ${part}`, { n: index + 1 })
    const done = changes => {
      context.set(index, without({ ...own(), ...changes }))
      context.settled()
    }

    const prompt = textField({
      tag: 'textarea', label: called('prompt'), title: say('what the scene shows'), value: own().prompt ?? '', rows: 2,
      class: 'wl-field wl-prompt', placeholder: say('prompt'), done: text => done({ prompt: text }),
      live: text => context.set(index, without({ ...own(), prompt: text })), 'data-part': 'file'
    })
    const length = whole(called('length'), say('frames; empty for the length of the node'), own().length, number => done({ length: number }))
    const seed = whole(called('seed'), say('seed; empty for the seed of the node'), own().seed, number => done({ seed: number }))
    const stack = own().loras
      ? el('span', { class: 'wl-twin', title: JSON.stringify(own().loras) }, say('{count} LoRAs of its own', { count: own().loras.length }))
      : comboField({
        label: called('preset'), title: say('a saved stack of LoRAs'), value: own().preset ?? '', placeholder: say('no preset'),
        offers: () => [['', say('no preset')], ...presets().map(name => [name, ''])], isFree: true,
        choose: text => done({ preset: text.trim() || undefined }), class: 'wl-field wl-combo wl-file'
      })
    return el('div', { class: 'wl-row', role: 'listitem', 'aria-label': say('scene {n}', { n: index + 1 }) },
      el('div', { class: 'wl-line wl-tall' }, moveHandle(context, index, called('move')), prompt,
        iconButton('pi-times', called('remove'), () => context.remove(index), { 'data-part': 'remove' })),
      el('div', { class: 'wl-line wl-second' }, el('small', {}, say('frames')), length, el('small', {}, say('seed')), seed, stack,
        iconButton('pi-clone', called('duplicate'), () => context.duplicate(index), { 'data-part': 'duplicate' })))
  }

  return {
    noun: 'scene',
    addText: 'add scene',
    about: 'The scenes, one after another; { } shows them as text.',
    firstPart: 'file',
    height: 60,
    minWidth: 360,
    width: 420,
    row,
    blank: () => ({ prompt: '' }),
    isWhole: () => true,
    duplicate: (rows, index) => structuredClone(rows[index])
  }
}

/** Make a field of a whole number that may be left empty. */
function whole(label, title, value, change) {
  const field = textField({
    label, title, value: value ?? '', inputmode: 'numeric', role: 'spinbutton', class: 'wl-field wl-whole', placeholder: '–',
    done: text => {
      const isNumber = /^\s*\d+\s*$/.test(text)
      if (text.trim() && !isNumber) return field.settle(value ?? '')
      value = isNumber ? Number(text) : undefined
      change(value)
    }
  })
  return field
}

function without(row) {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined))
}
