/**
 * The rows of LoraRouteByNoise's `overrides`.
 *
 * What each control is called (N counts from 1):
 *   "override N name"        combobox with free text; offers the LoRAs that are on the model
 *   "override N applies to"  select: as it is, auto, high_noise, low_noise, both
 *   "override N schedule"    combobox with free text; aria-invalid while the text is no schedule
 *   "override N move", "override N remove"   buttons
 *   "add override", "edit as text"           buttons; "override list as text" the text field
 */

import { EXPERTS } from '../core/lora_row.js'
import { upstreamNames } from '../core/upstream_loras.js'
import { comboField } from '../controls/combo_field.js'
import { choice, el, iconButton } from '../controls/dom.js'
import { scheduleField } from '../controls/schedule_field.js'
import { say } from '../words.js'
import { moveHandle } from './move_handle.js'

const AS_IT_IS = 'as it is'

/** Return the kind of row. */
export function overrideRows(_options, node) {
  const names = () => upstreamNames(node)

  function row(context, index) {
    const own = () => context.rows[index]
    const called = part => say(`override {n} ${part}`, { n: index + 1 })
    const done = changes => {
      context.set(index, without({ ...own(), ...changes }))
      context.settled()
    }

    const name = comboField({
      label: called('name'), title: say('the name of a LoRA on the model'), value: own().name ?? '', class: 'wl-field wl-combo wl-file',
      placeholder: say('which LoRA'), offers: typed => names().filter(one => one.includes(typed)).map(one => [one, '']),
      isFree: true, choose: text => done({ name: text.trim() }), 'data-part': 'file'
    })
    const experts = [['', say(AS_IT_IS)], ...EXPERTS.map(([value, text]) => [value, say(text)])]
    const appliesTo = choice(called('applies to'), say('the expert it acts on'), experts, own().applies_to ?? '', value => {
      done({ applies_to: value || undefined })
    })
    const schedule = scheduleField({
      label: called('schedule'), value: own().schedule || null, unset: say(AS_IT_IS), change: value => done({ schedule: value ?? undefined })
    })
    return el('div', { class: 'wl-row wl-override', role: 'listitem', 'aria-label': say('override {n}', { n: index + 1 }) },
      el('div', { class: 'wl-line' }, moveHandle(context, index, called('move')), name, appliesTo, schedule.curve, schedule,
        iconButton('pi-times', called('remove'), () => context.remove(index), { 'data-part': 'remove' })))
  }

  return {
    noun: 'override',
    addText: 'add override',
    about: 'Another expert or schedule for LoRAs of the model; { } shows them as text.',
    firstPart: 'file',
    height: 27,
    minWidth: 360,
    width: 420,
    row,
    blank: () => ({ name: '' }),
    isWhole: row => Boolean(row.name)
  }
}

function without(row) {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined))
}
