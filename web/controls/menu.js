/** A menu of our own: the arrow keys, Home and End walk in it, Enter or Space take, Escape leaves. */

import { el } from './dom.js'
import { openPopup, under } from './popup.js'

/** Which entry of `count` a key goes to from `index`. */
const WAYS = {
  ArrowDown: (index, count) => (index + 1) % count,
  ArrowUp: (index, count) => (index - 1 + count) % count,
  Home: () => 0,
  End: (_, count) => count - 1
}

/** Open the menu under an element, or at `{ x, y }`; an entry is `{ text, act, isDisabled }`, and null a line between entries. */
export function openMenu(label, entries, at) {
  const items = entries.map(entry => (entry ? itemOf(entry) : el('hr', { role: 'separator' })))
  const menu = el('div', { class: 'wl-menu', role: 'menu', 'aria-label': label, oncontextmenu: event => event.preventDefault() }, ...items)
  const { close } = openPopup(menu, under(at))
  const able = [...menu.querySelectorAll('[role=menuitem]:not(:disabled)')]
  able[0]?.focus()
  menu.addEventListener('keydown', event => {
    const way = WAYS[event.key]
    if (event.key === 'Tab') close()
    if (!way || !able.length) return
    event.preventDefault()
    able[way(able.indexOf(document.activeElement), able.length)].focus()
  })
  menu.addEventListener('pointermove', event => event.target.closest('[role=menuitem]:not(:disabled)')?.focus())

  function itemOf({ text, act, isDisabled }) {
    return el('button', {
      type: 'button', class: 'wl-option wl-menu-item', role: 'menuitem', tabindex: '-1', disabled: Boolean(isDisabled),
      onclick: () => { close(); act() }
    }, text)
  }
}
