/**
 * Where in the network a LoRA acts: a slider for each range of blocks and each kind of module, presets, and the text form.
 *
 * Its parts: "blocks 0-3" and "module self_attn" (sliders), a button for each preset, "number of blocks" (select),
 * "targets as text". A text that the sliders cannot say stays text: they rest until it is changed or emptied.
 */

import { choice, el, setAttribute } from '../controls/dom.js'
import { openPopup, under } from '../controls/popup.js'
import { textField } from '../controls/text_field.js'
import {
  KINDS, MOST, PRESETS, groupsOf, presetSliders, slidersOf, targetsFault, targetsOf, targetsText
} from '../core/targets.js'
import { say } from '../words.js'

/** How many blocks the transformers of Wan have. */
const DEPTHS = [[40, '40 (14B)'], [30, '30 (1.3B, 5B)'], [6, '6 (pocket)']]
const STEP = 0.05

/** Open it under the button `opener`; `change(targets)` gets every new text, or null for none, and `settled()` is called when a change is over. */
export function openTargets({ label, value, numBlocks, change, settled, opener }) {
  let targets = value ?? null
  let depth = numBlocks ?? DEPTHS[0][0]
  const sliders = el('div', { class: 'wl-sliders' })
  const note = el('div', { class: 'wl-targets-note', role: 'alert' })
  const text = textField({
    label: say('targets as text'), title: say('such as 0-9=0.5,cross_attn=0; the factors of all rules that match multiply'),
    value: targetsText(value), placeholder: say('everywhere'), class: 'wl-field wl-targets-text',
    live: typed => take(typed.trim() || null), done: () => settled()
  })
  const presets = PRESETS.map(([name, preset]) => el('button', {
    type: 'button', class: 'wl-add', onclick: () => { put(targetsOf(presetSliders(preset, depth), depth)); settled() }
  }, say(name)))
  const blocks = choice(say('number of blocks'), say('as many as the model has'), DEPTHS, depth, number => {
    depth = Number(number)
    draw()
  })
  const popover = el('div', { class: 'wl-popover wl-targets', role: 'dialog', 'aria-label': label },
    el('div', { class: 'wl-line' }, el('span', { class: 'wl-first-line' }, say('Where it acts')), say('blocks'), blocks),
    el('div', { class: 'wl-presets' }, ...presets), sliders, text, note)

  /** Take what was typed, if it can be read. */
  function take(typed) {
    targets = typed
    if (!typed || !targetsFault(typed)) change(typed)
    draw()
  }

  function put(next) {
    targets = next
    text.settle(next ?? '')
    change(next)
    draw()
  }

  function draw() {
    const stand = slidersOf(targets, depth)
    const fault = targets === null ? null : targetsFault(targets, say)
    setAttribute(text, 'aria-invalid', fault ? 'true' : 'false')
    note.textContent = fault ?? (stand ? '' : say('The text says more than the sliders can. Empty it to use them.'))
    for (const preset of presets) preset.disabled = !stand
    sliders.replaceChildren(...slidersAt(stand ?? slidersOf(null, depth), !stand))
  }

  function slidersAt({ groups, kinds }, isResting) {
    const moved = (key, name) => factor => {
      const stand = slidersOf(targets, depth)
      stand[key][name] = factor
      targets = targetsOf(stand, depth)
      text.settle(targets ?? '')
      change(targets)
    }
    const ofBlocks = groupsOf(depth).map(([first, last], index) => {
      const name = first === last ? `${first}` : `${first}-${last}`
      return slider(say('blocks {name}', { name }), name, groups[index], moved('groups', index), settled, isResting)
    })
    const ofKinds = KINDS.map(kind =>
      slider(say('module {kind}', { kind }), kind, kinds[kind] ?? 1, moved('kinds', kind), settled, isResting))
    return [el('div', { class: 'wl-blocks' }, ...ofBlocks), el('div', { class: 'wl-kinds' }, ...ofKinds)]
  }

  draw()
  if (openPopup(popover, under(opener), opener)) sliders.querySelector('input:not(:disabled)')?.focus()
}

function slider(label, name, factor, moved, settled, isResting) {
  const shown = el('output', {}, String(factor))
  const input = el('input', {
    type: 'range', min: '0', max: String(MOST), step: String(STEP), value: String(factor), 'aria-label': label, title: label,
    disabled: isResting, onchange: () => settled(),
    oninput: () => {
      const next = Math.round(Number(input.value) * 100) / 100
      shown.textContent = String(next)
      moved(next)
    }
  })
  return el('div', { class: 'wl-slider' }, shown, input, el('span', {}, name))
}
