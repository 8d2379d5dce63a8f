/** The chooser of a strength schedule: a shape from the list, or its text form, which is checked while it is typed. */

import { EXAMPLES, CONSTANT, scheduleFault, scheduleText, scheduleValue } from '../core/schedule.js'
import { say } from '../words.js'
import { comboField } from './combo_field.js'
import { curveSketch } from './curve_sketch.js'
import { setAttribute } from './dom.js'

/**
 * Make the field; `unset` is what no schedule is called, `change(value)` gets null for that.
 * Its `curve` draws the schedule while it is typed; it is an element for the caller to place.
 */
export function scheduleField({ label, value, unset = CONSTANT, change, ...attributes }) {
  const offers = EXAMPLES.filter(([text]) => text !== CONSTANT).map(([text, about]) => [text, say(about)])
  const first = unset === CONSTANT ? [CONSTANT, say(EXAMPLES[0][1])] : [unset, say('the schedule of the row')]
  const field = comboField({
    label,
    title: '',
    value: value === null || value === undefined ? unset : scheduleText(value),
    offers: () => [first, ...offers],
    isFree: true,
    choose: text => {
      const isUnset = text.trim() === '' || text === unset
      if (isUnset) field.settle(unset)
      change(isUnset ? null : unset === CONSTANT ? scheduleValue(text) : text.trim())
      check()
    },
    ...attributes
  })

  field.curve = curveSketch(say('{label} curve', { label }))

  function check() {
    const text = field.value.trim()
    field.curve.show(text === unset ? null : objectIn(text) ?? text)
    const fault = text === '' || text === unset || text.startsWith('{') ? null : scheduleFault(text, say)
    setAttribute(field, 'aria-invalid', fault ? 'true' : 'false')
    field.title = fault ?? say('A factor on the strength by noise level (sigma), which falls from 1 to 0 in a run: {text}', { text: text || unset })
  }

  field.addEventListener('input', check)
  field.addEventListener('blur', check)
  check()
  return field
}

/** Return the object that a text in JSON stands for, or null. */
function objectIn(text) {
  try {
    return text.startsWith('{') ? JSON.parse(text) : null
  } catch {
    return null
  }
}
