/**
 * The card of a LoRA file: what the file and the sidecars beside it tell, shown beside the row.
 *
 * Its controls: "copy {word}" and "insert {word} into the prompt" at each trigger word, "use {strength}", "close the card".
 * All that other people wrote is shown as text.
 */

import { copyText } from '../controls/clipboard.js'
import { el, iconButton } from '../controls/dom.js'
import { beside, openPopup } from '../controls/popup.js'
import { baseName } from '../core/lora_row.js'
import { factsOf, sizeText, strengthText } from '../core/card_facts.js'
import { promptsBehind, promptsIn, textOf, withWords } from '../core/prompt_nodes.js'
import { graphOf, redraw, rememberForUndo } from '../host.js'
import { fetchCard, previewAddress } from '../lora_facts.js'
import { say, told } from '../words.js'

/** Show the card of a file beside a button of its row; `node` has the row, `use(strength)` gives the row a strength. */
export async function showLoraCard(anchor, file, node, use) {
  const element = el('div', { class: 'wl-popover wl-card', role: 'dialog', 'aria-label': say('card of {file}', { file }), tabindex: '-1' })
  const popup = openPopup(element, beside(anchor.closest('.wl-rows')), anchor)
  if (!popup) return
  const body = el('div', { class: 'wl-card-body' }, el('p', { class: 'wl-card-quiet' }, say('reading')))
  const close = iconButton('pi-times', say('close the card'), () => popup.close())
  const title = el('strong', { title: file }, baseName(file))
  const status = el('p', { class: 'wl-card-status', role: 'status' })
  element.append(el('div', { class: 'wl-card-head' }, title, close), body, status)
  element.focus({ preventScroll: true })
  const tell = text => { status.textContent = text }
  try {
    const card = await fetchCard(file)
    if (!popup.isOpen) return
    title.textContent = card.title || baseName(file)
    body.replaceChildren(...sections(card, file, node, use, tell))
  } catch (error) {
    body.replaceChildren(el('p', { class: 'wl-card-fault', role: 'alert' }, told(error.message, error.said)))
  }
}

function sections(card, file, node, use, tell) {
  const made = [
    preview(card, file),
    ...card.faults.map(fault => el('p', { class: 'wl-card-fault' }, fault)),
    card.words.length ? words(card.words, node, tell) : null,
    card.strength ? strength(card.strength, use, tell) : null,
    table({ [say('file')]: file, [say('size')]: sizeText(card.size), ...translated(factsOf(card)) }),
    ...card.notes.map(([source, text]) => part(source === 'file' ? say('notes in the file') : say('notes by {source}', { source }), el('p', { class: 'wl-card-note' }, text)))
  ]
  return made.filter(Boolean)
}

function preview(card, file) {
  if (!card.preview) return null
  const src = previewAddress(file, card.preview.version)
  if (card.preview.kind === 'image') return el('img', { class: 'wl-card-preview', src, alt: say('preview') })
  const video = el('video', { class: 'wl-card-preview', 'aria-label': say('preview'), loop: true, autoplay: true, playsinline: true })
  video.muted = true
  video.src = src
  return video
}

function words(all, node, tell) {
  const picker = el('div', { class: 'wl-card-picker' })
  const copy = async some => tell(say(await copyText(some.join(', ')) ? 'copied' : 'the browser does not let the page copy'))
  const insert = some => insertWords(some, node, picker, tell)
  const chip = (text, some) => el('span', { class: 'wl-chip' }, el('span', {}, text),
    iconButton('pi-copy', say('copy {word}', { word: text }), () => copy(some)),
    iconButton('pi-plus', say('insert {word} into the prompt', { word: text }), () => insert(some)))
  const chips = all.map(word => chip(word, [word]))
  if (all.length > 1) chips.push(chip(say('all words'), all))
  return part(say('trigger words'), el('div', { class: 'wl-chips' }, ...chips), picker)
}

/** Put words into the prompt behind the node; where it is not certain which that is, let the user say. */
function insertWords(some, node, picker, tell) {
  const found = promptsBehind(node)
  picker.replaceChildren()
  if (found.length === 1) return write(found[0])
  const offered = found.length ? found : promptsIn(graphOf())
  if (!offered.length) return tell(say('there is no prompt in this workflow'))
  tell('')
  picker.append(el('span', { class: 'wl-card-quiet' }, say('into which prompt?')), ...offered.map(prompt => el('button', {
    type: 'button', class: 'wl-add', title: textOf(prompt).value, onclick: () => { picker.replaceChildren(); write(prompt) }
  }, `${prompt.title} #${prompt.id}`)))
  picker.querySelector('button').focus()

  function write(prompt) {
    const widget = textOf(prompt)
    const next = withWords(widget.value, some)
    if (next === widget.value) return tell(say('the prompt has it already'))
    widget.value = next
    widget.callback?.(next)
    redraw(prompt)
    rememberForUndo()
    tell(say('inserted into {title}', { title: prompt.title }))
  }
}

function strength(advised, use, tell) {
  const number = advised.usual
  const button = el('button', { type: 'button', class: 'wl-add', onclick: () => { use(number); tell(say('strength is {number}', { number })) } }, say('use {number}', { number }))
  return part(say('strength advised'), el('div', { class: 'wl-chips' }, el('span', {}, strengthText(advised)), button))
}

function part(heading, ...children) {
  return el('section', {}, el('h4', {}, heading), ...children)
}

function table(rows) {
  const lines = Object.entries(rows).map(([name, value]) => el('tr', {}, el('th', { scope: 'row' }, name), el('td', {}, value)))
  return el('table', { class: 'wl-card-facts' }, ...lines)
}

function translated(facts) {
  return Object.fromEntries(facts.map(([name, value, isWord]) => [say(name), isWord ? say(value) : value]))
}
