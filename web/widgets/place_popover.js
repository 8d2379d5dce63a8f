/**
 * Where in the picture and when in the clip a LoRA acts: each a text, buttons for the usual ones, and a drawing.
 *
 * Its parts: "region as text", "time as text", a button for each usual region and time, "region drawing", "time drawing".
 */

import { el, setAttribute, svg } from '../controls/dom.js'
import { openPopup, under } from '../controls/popup.js'
import { textField } from '../controls/text_field.js'
import { parseRegion, parseTime, placeText, regionFault, timeCurveOf, timeFault } from '../core/places.js'
import { say } from '../words.js'

const [WIDTH, HEIGHT] = [96, 54]
const REGIONS = ['', 'left', 'right', 'top', 'bottom', 'centre', 'left-third', 'middle-third', 'right-third', 'rest']
const TIMES = ['', 'from 1s', 'until 1s', '1s-3s', '0s=0,2s=1']

/** The two texts: how each is called, read, drawn and told of. */
const KINDS = [
  {
    key: 'region', heading: 'Where in the picture', usual: REGIONS, unset: 'the whole picture', fault: regionFault, draw: drawRegion,
    about: 'A place, a box (left, top, right, bottom: 0,0,0.5,1) or a file in the folder input (mask.png); not left; rest, where no other row acts; left; soft=0.1'
  },
  {
    key: 'time', heading: 'When in the clip', usual: TIMES, unset: 'the whole clip', fault: timeFault, draw: drawTime,
    about: 'Seconds or frames of the clip: from 2s, until frame 33, 1s-3s; time=factor: 0s=0,2s=1'
  }
]

/** Open it under the button `opener`; `change(key, text)` gets every new text, or null for none, and `settled()` is called when a change is over. */
export function openPlaces({ label, row, change, settled, opener }) {
  const parts = KINDS.map(kind => placePart(kind, row[kind.key], text => change(kind.key, text), settled))
  const popover = el('div', { class: 'wl-popover wl-places', role: 'dialog', 'aria-label': label }, ...parts.flat())
  if (openPopup(popover, under(opener), opener)) popover.querySelector('input').focus()
}

function placePart({ key, heading, usual, unset, fault, draw, about }, value, change, settled) {
  const drawing = el('span', { class: 'wl-place', role: 'img', 'aria-label': say(`${key} drawing`) })
  const note = el('div', { class: 'wl-targets-note', role: 'alert' })
  const text = textField({
    label: say(`${key} as text`), title: say(about), value: placeText(value), placeholder: say(unset),
    class: 'wl-field wl-targets-text', live: take, done: () => settled()
  })
  const buttons = usual.map(one => el('button', {
    type: 'button', class: 'wl-add', onclick: () => { text.settle(one); take(one); settled() }
  }, one || say(unset)))

  /** Take what was typed, if it can be read. */
  function take(typed) {
    const wrong = fault(typed, say)
    if (!wrong) change(typed.trim() || null)
    show(typed, wrong)
  }

  function show(shown, wrong) {
    setAttribute(text, 'aria-invalid', wrong ? 'true' : 'false')
    note.textContent = wrong ?? ''
    drawing.replaceChildren(svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}` }, ...(wrong ? [] : draw(shown.trim()))))
  }

  show(text.value, fault(text.value, say))
  return [
    el('div', { class: 'wl-first-line' }, say(heading)),
    el('div', { class: 'wl-place-line' }, drawing, el('div', { class: 'wl-presets' }, ...buttons)),
    text, note
  ]
}

/** Draw a region on a picture; of a file, and of what others leave, nothing is known but that it has one. */
function drawRegion(text) {
  if (text.startsWith('{')) return []
  const { box, inverted } = text ? parseRegion(text) : { box: [0, 0, 1, 1] }
  if (!box) return [svg('rect', { class: 'wl-file-mask', x: 8, y: 8, width: WIDTH - 16, height: HEIGHT - 16 })]
  const [left, top, right, bottom] = box
  const inner = { x: left * WIDTH, y: top * HEIGHT, width: (right - left) * WIDTH, height: (bottom - top) * HEIGHT }
  const whole = svg('rect', { class: inverted ? 'wl-inside' : 'wl-outside', x: 0, y: 0, width: WIDTH, height: HEIGHT })
  return [whole, svg('rect', { class: inverted ? 'wl-outside' : 'wl-inside', ...inner })]
}

/** Draw the factor over the clip's time. */
function drawTime(text) {
  if (text.startsWith('{')) return []
  const { points } = text ? timeCurveOf(parseTime(text), WIDTH, HEIGHT) : { points: [[1, 1], [WIDTH - 1, 1]] }
  return [svg('polyline', { points: points.map(point => point.join(',')).join(' ') })]
}
