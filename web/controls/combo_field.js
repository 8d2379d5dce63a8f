/** A field with a list under it that typing filters: the arrow keys walk in it, Enter takes, Escape leaves. */

import { shortened } from '../core/file_list.js'
import { say } from '../words.js'
import { el, setAttribute } from './dom.js'
import { textField } from './text_field.js'

const NUM_AT_ONCE = 200
/** Pixels from the end of what is drawn at which more is drawn. */
const NEAR = 100
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
  let drawn = [] // the elements of the choices that are near to where the list is scrolled to
  let begin = 0 // the place of the first of them among the choices
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
      list.addEventListener('scroll', drawMore)
      document.body.append(list)
      setAttribute(field, 'aria-controls', list.id)
      setAttribute(field, 'aria-expanded', 'true')
      addEventListener('wheel', closeIfOutside, true)
      addEventListener('resize', close)
    }
    fill()
  }

  /** Fill the list; the choice that is `kept`, or else the value that the field has, is the one the keyboard is on. */
  function fill(kept = isTyped ? undefined : value) {
    offered = grouped(offers(isTyped ? field.value : ''), ([one]) => groupOf(one))
    const present = offered.findIndex(([one]) => one === kept)
    const about = hint(isTyped ? field.value : '')
    list.replaceChildren(...(about ? [note(about, 'wl-hint')] : []))
    drawn = []
    begin = Math.max(0, present - NUM_AT_ONCE / 2)
    active = -1
    drawBehind()
    if (!offered.length && !isFree) list.append(note(say('nothing by that name')))
    place() // before that it is as high as its choices, and nothing scrolls
    activate(present < 0 && isTyped && !isFree ? 0 : present)
  }

  function drawMore({ target }) {
    if (target !== list) return // closed meanwhile
    if (list.scrollTop + list.clientHeight > list.scrollHeight - NEAR) drawBehind()
    if (list.scrollTop < NEAR) drawBefore()
  }

  function drawBehind() {
    const end = begin + drawn.length
    const elements = elementsOf(end, end + NUM_AT_ONCE)
    drawn = [...drawn, ...elements.filter(isOption)]
    list.append(...elements)
  }

  /** Draw those before what is drawn, which stays where it is seen. */
  function drawBefore() {
    if (begin === 0) return
    const end = begin
    const height = list.scrollHeight
    begin = Math.max(0, end - NUM_AT_ONCE)
    const elements = elementsOf(begin, end)
    const heading = drawn[0].previousElementSibling
    const first = heading?.matches('.wl-group') ? heading : drawn[0]
    first.before(...elements)
    drawn = [...elements.filter(isOption), ...drawn]
    list.scrollTop += list.scrollHeight - height
  }

  /** Return the elements of some of the choices, each group under its heading. */
  function elementsOf(from, to) {
    return offered.slice(from, to).flatMap(([one, about], index) => {
      const group = groupOf(one)
      const before = offered[from + index - 1]
      const isFirst = group && !(before && groupOf(before[0]) === group)
      return [...(isFirst ? [note(group, 'wl-group')] : []), item(one, about, from + index)]
    })
  }

  function item(one, about, index) {
    const option = el('li', { role: 'option', 'aria-selected': 'false', id: `${list.id}-${index}`, class: 'wl-option', title: show(one) === one ? null : one },
      el('span', {}, shortened(nameOf(one), LONGEST)), about ? el('small', {}, about) : null)
    option.addEventListener('click', () => { close(); settle(one); field.select() })
    return option
  }

  function activate(index) {
    if (index >= begin + drawn.length) drawBehind()
    if (index >= 0 && index < begin) drawBefore()
    setSelected('false')
    active = Math.min(index, begin + drawn.length - 1)
    setSelected('true')
    setAttribute(field, 'aria-activedescendant', drawn[active - begin]?.id)
    drawn[active - begin]?.scrollIntoView({ block: 'nearest' })
  }

  function setSelected(isSelected) {
    if (active >= begin) drawn[active - begin]?.setAttribute('aria-selected', isSelected)
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

  /** Draw the choices anew where they are shown, as others may fit now, without a move under the user's hands. */
  field.refill = () => {
    if (!list) return
    const top = list.scrollTop
    fill(active > 0 ? offered[active][0] : undefined)
    if (begin === 0) list.scrollTop = top
  }

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

function isOption(element) {
  return element.getAttribute('role') === 'option'
}

function note(text, kind = '') {
  return el('li', { class: `wl-option wl-note ${kind}`, role: 'presentation' }, text)
}

/** Return the items with those of one group behind each other: those of none, which have no heading, then groups in the order of their first. */
function grouped(items, groupOf) {
  const groups = new Map([['', []]])
  for (const item of items) {
    const group = groupOf(item)
    if (!groups.get(group)?.push(item)) groups.set(group, [item])
  }
  return [...groups.values()].flat()
}
