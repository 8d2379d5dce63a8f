/** A field with a list under it that typing filters: the arrow keys walk in it, Enter takes, Escape leaves. */

import { shortened } from '../core/file_list.js'
import { say } from '../words.js'
import { el, setAttribute } from './dom.js'
import { textField } from './text_field.js'

const NUM_AT_ONCE = 200
const LONGEST = 90
let numLists = 0

/**
 * Make the field.
 *
 * offers(typed) gives the choices for what is typed: [value, about] pairs; an empty text asks for all of them.
 * show(value) is how a value reads in the field; with isFree the text itself may be taken, not only an offer.
 * hint(typed) is a note above the choices: how to search, or what is wrong with what is typed.
 * groupOf(value) is the heading that a choice stands under, nameOf(value) how it is called there.
 */
export function comboField({
  label, title, value, offers, show = String, groupOf = () => '', nameOf = show, hint = () => '', isFree = false, choose, left = () => {},
  ...attributes
}) {
  const field = textField({
    label, title, value: show(value), role: 'combobox', 'aria-autocomplete': 'list', 'aria-expanded': 'false',
    class: 'wl-field wl-combo', done: take, ...attributes
  })
  let list = null
  let offered = []
  let drawn = [] // the elements of the choices, as far as they are scrolled to
  let active = -1
  let isTyped = false

  function take(text) {
    const exact = offers('').find(([one]) => one === text || show(one) === text)
    if (exact) settle(exact[0])
    else if (isFree) settle(text)
    else field.settle(show(value))
  }

  function settle(next) {
    field.settle(show(next))
    if (next !== value) choose((value = next))
  }

  function open() {
    if (!list) {
      list = el('ul', { class: 'wl-list', role: 'listbox', id: `wl-list-${(numLists += 1)}`, 'aria-label': say('choices') })
      list.addEventListener('pointerdown', event => event.preventDefault())
      list.addEventListener('scroll', () => {
        if (list.scrollTop + list.clientHeight > list.scrollHeight - 100) draw(drawn.length + NUM_AT_ONCE)
      })
      document.body.append(list)
      setAttribute(field, 'aria-controls', list.id)
      setAttribute(field, 'aria-expanded', 'true')
      addEventListener('wheel', closeIfOutside, true)
      addEventListener('resize', close)
    }
    fill()
  }

  function fill() {
    offered = grouped(offers(isTyped ? field.value : ''), ([one]) => groupOf(one))
    const present = isTyped ? -1 : offered.findIndex(([one]) => one === value)
    const about = hint(isTyped ? field.value : '')
    list.replaceChildren(...(about ? [note(about, 'wl-hint')] : []))
    drawn = []
    active = -1
    draw(Math.max(NUM_AT_ONCE, present + NUM_AT_ONCE / 2))
    if (!offered.length && !isFree) list.append(note(say('nothing by that name')))
    activate(isTyped ? (isFree ? -1 : 0) : present)
    place()
  }

  /** Draw the choices as far as that, each group under its heading; the others when they are scrolled to. */
  function draw(end) {
    const begin = drawn.length
    let group = begin ? groupOf(offered[begin - 1][0]) : ''
    const elements = []
    for (const [index, [one, about]] of offered.slice(begin, end).entries()) {
      if (groupOf(one) !== group && (group = groupOf(one))) elements.push(note(group, 'wl-group'))
      elements.push(item(one, about, begin + index))
      drawn.push(elements.at(-1))
    }
    list.append(...elements)
  }

  function item(one, about, index) {
    const option = el('li', { role: 'option', 'aria-selected': 'false', id: `${list.id}-${index}`, class: 'wl-option', title: show(one) === one ? null : one },
      el('span', {}, shortened(nameOf(one), LONGEST)), about ? el('small', {}, about) : null)
    option.addEventListener('click', () => { close(); settle(one); field.select() })
    return option
  }

  function activate(index) {
    if (index >= drawn.length) draw(index + NUM_AT_ONCE)
    if (drawn[active]) setAttribute(drawn[active], 'aria-selected', 'false')
    active = Math.min(index, drawn.length - 1)
    if (drawn[active]) setAttribute(drawn[active], 'aria-selected', 'true')
    setAttribute(field, 'aria-activedescendant', drawn[active]?.id)
    drawn[active]?.scrollIntoView({ block: 'nearest' })
  }

  function place() {
    const box = field.getBoundingClientRect()
    const below = innerHeight - box.bottom - 8
    const isAbove = below < 160 && box.top > below
    list.style.minWidth = `${Math.max(box.width, 180)}px`
    list.style.maxHeight = `${Math.min(320, isAbove ? box.top - 8 : below)}px`
    list.style.left = `${Math.max(4, Math.min(box.left, innerWidth - list.offsetWidth - 4))}px`
    list.style.top = isAbove ? `${box.top - list.offsetHeight - 2}px` : `${box.bottom + 2}px`
  }

  function close() {
    list?.remove()
    list = null
    active = -1
    isTyped = false
    setAttribute(field, 'aria-expanded', 'false')
    setAttribute(field, 'aria-activedescendant', null)
    setAttribute(field, 'aria-controls', null)
    removeEventListener('wheel', closeIfOutside, true)
    removeEventListener('resize', close)
  }

  function closeIfOutside(event) {
    if (!list?.contains(event.target)) close()
  }

  /** Draw the choices anew where they are shown, as others may fit now. */
  field.refill = () => { if (list) fill() }

  field.addEventListener('focus', () => { field.select(); open() })
  field.addEventListener('click', () => list ?? open())
  field.addEventListener('input', () => { isTyped = true; open() })
  field.addEventListener('blur', () => { close(); left() })
  field.addEventListener('keydown', event => {
    const way = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (way) {
      event.preventDefault()
      event.stopPropagation()
      return list ? activate(Math.max(0, active + way)) : open()
    }
    if (event.key === 'Escape' && list) {
      event.stopPropagation()
      field.revert()
      close()
    }
  })
  // Before the field's own Enter, which would take the text as typed.
  field.addEventListener('keydown', event => {
    if (event.key !== 'Enter' || !list) return
    const chosen = offered[active]?.[0]
    close()
    if (chosen !== undefined) settle(chosen)
  }, true)
  return field
}

function note(text, kind = '') {
  return el('li', { class: `wl-option wl-note ${kind}`, role: 'presentation' }, text)
}

/** Return the items with those of one group behind each other, groups in the order of their first. */
function grouped(items, groupOf) {
  const groups = new Map()
  for (const item of items) {
    const group = groupOf(item)
    if (!groups.get(group)?.push(item)) groups.set(group, [item])
  }
  return [...groups.values()].flat()
}
