/** The menu of a LoRA's row: by right click, by the context-menu key, or by Shift+F10 on any of its controls. */

import { openMenu } from '../controls/menu.js'
import { changed } from '../core/lora_row.js'
import { hasFile, isOn, onlyOn } from '../core/row_edits.js'
import { moved } from '../core/row_list.js'
import { withOurKeys } from '../core/foreign_rows.js'
import { say } from '../words.js'

/**
 * What the menu offers, a line between each group. Of an entry
 *   text(row)               is what it is called
 *   rows(rows, index)       are the rows it leaves, or act(context, index) is what it does
 *   to(rows, index)         is where the row is afterwards, if it moves
 *   isIdle(rows, index)     says that it would change nothing
 */
const GROUPS = [
  [
    { text: () => 'info', act: (context, index) => context.press(index, 'card'), isIdle: isBlank }
  ],
  [
    { text: row => (isOn(row) ? 'switch off' : 'switch on'), rows: edited(row => ({ enabled: !isOn(row) })), isIdle: isBlank },
    { text: () => 'only this one on', rows: onlyOn, isIdle: isBlank }
  ],
  [
    { text: () => 'move up', ...moveBy((_, index) => index - 1) },
    { text: () => 'move down', ...moveBy((_, index) => index + 1) },
    { text: () => 'move to the top', ...moveBy(() => 0) },
    { text: () => 'move to the bottom', ...moveBy(rows => rows.length - 1) }
  ],
  [
    { text: () => 'change the name', act: (context, index) => context.focus(index, 'name') },
    { text: () => 'duplicate', act: (context, index) => context.duplicate(index), isIdle: isBlank },
    { text: () => 'remove', act: (context, index) => context.remove(index) }
  ],
  [
    ...[0, 0.5, 1].map(weight => ({
      text: () => 'strength {weight}', names: { weight }, rows: edited(() => ({ weight })), isIdle: isBlank
    })),
    {
      text: () => 'same strength on both experts',
      rows: edited(() => ({ low_noise_weight: null })),
      isIdle: (rows, index) => (withOurKeys(rows[index]).low_noise_weight ?? null) === null
    }
  ]
]

/** Let a row's element open the menu; in a field that is being typed in, the right click stays the browser's. */
export function withRowMenu(element, context, index) {
  const open = at => {
    const part = element.querySelector(':focus')?.dataset.part ?? 'move'
    openMenu(say('LoRA {n} menu', { n: index + 1 }), entriesOf(context, index, part), at)
  }
  element.addEventListener('mousedown', event => event.button === 2 && !isTypedIn(event.target) && event.preventDefault())
  element.addEventListener('contextmenu', event => {
    event.stopPropagation()
    if (isTypedIn(event.target)) return
    event.preventDefault()
    open({ x: event.clientX, y: event.clientY })
  })
  element.addEventListener('keydown', event => {
    if (event.key !== 'ContextMenu' && !(event.shiftKey && event.key === 'F10')) return
    event.preventDefault()
    event.stopPropagation()
    open(event.target)
  })
  return element
}

function entriesOf(context, index, part) {
  const entries = GROUPS.map(group => group.map(({ text, names, rows, act, to, isIdle }) => ({
    text: say(text(context.rows[index]), names),
    isDisabled: isIdle?.(context.rows, index),
    act: () => (act ? act(context, index) : context.replace(rows(context.rows, index), to?.(context.rows, index) ?? index, part))
  })))
  return entries.flatMap((group, place) => (place ? [null, ...group] : group))
}

function edited(changes) {
  return (rows, index) => rows.with(index, changed(rows[index], changes(rows[index])))
}

function moveBy(to) {
  return {
    to,
    rows: (rows, index) => moved(rows, index, to(rows, index)),
    isIdle: (rows, index) => moved(rows, index, to(rows, index)) === rows
  }
}

function isBlank(rows, index) {
  return !hasFile(rows[index])
}

function isTypedIn(target) {
  return target === document.activeElement && target.matches('input, textarea')
}
