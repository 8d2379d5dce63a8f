/**
 * The rows of ApplyLoraStack's `loras`.
 *
 * What each control is called (N counts from 1), for people who listen to the page and for the browser tests:
 *   "LoRA N enabled"            switch
 *   "LoRA N file"               combobox; type to filter, arrow keys and Enter to take
 *   "LoRA N card"               button; opens what is known of the file
 *   "LoRA N strength"           spinbutton; arrow keys, typing, dragging sideways
 *   "LoRA N own low strength"   button, pressed while the low expert has a strength of its own
 *   "LoRA N low strength"       spinbutton, there while that button is pressed
 *   "LoRA N applies to"         select: auto, high_noise, low_noise, both
 *   "LoRA N schedule"           combobox with free text; aria-invalid while the text is no schedule
 *   "LoRA N schedule curve"     drawing, there while the text is a schedule
 *   "LoRA N targets"            button, pressed while there is a filter; opens "LoRA N target sliders" (targets_popover.js)
 *   "LoRA N place"              button, pressed while there is a region or a time; opens "LoRA N region and time" (place_popover.js)
 *   "LoRA N move"               button; dragged, or moved with the arrow keys
 *   "LoRA N duplicate", "LoRA N remove"   buttons
 *   "LoRA N name"               text; empty for the file's own name
 *   "LoRA N where", "LoRA N twin", "LoRA N result"   text
 *   "LoRA N menu"               menu; by right click, the context-menu key or Shift+F10
 *   "toggle all", "take over rows"  buttons; the latter while another pack's node in the graph has rows
 *   "add LoRA", "edit as text"  buttons; "LoRA list as text" the text field
 */

import { accountsOf, inShort } from '../core/run_account.js'
import { rowAt } from '../core/faults.js'
import { folderOf, shortened } from '../core/file_list.js'
import { isFileName } from '../core/handed_rows.js'
import { rowsOf, withOurKeys } from '../core/foreign_rows.js'
import { scheduleFaultOf } from '../core/schedule.js'
import {
  EXPERTS, addedTo, appliedTo, baseName, changed, duplicateOf, nameOf, newLora, twinOf, withFile
} from '../core/lora_row.js'
import { placesOf, regionFault, timeFault } from '../core/places.js'
import { targetsFault, targetsText } from '../core/targets.js'
import { comboField } from '../controls/combo_field.js'
import { choice, el, iconButton, setAttribute, sign } from '../controls/dom.js'
import { numberField } from '../controls/number_field.js'
import { freeName } from '../core/row_list.js'
import { textField } from '../controls/text_field.js'
import { scheduleField } from '../controls/schedule_field.js'
import { say, told } from '../words.js'
import { searchHint, searched } from './lora_finder.js'
import { showLoraCard } from './lora_card.js'
import { takeHandedOver } from './handed_over.js'
import { moveHandle } from './move_handle.js'
import { withRowMenu } from './row_menu.js'
import { rowTools } from './row_tools.js'
import { openPlaces } from './place_popover.js'
import { openTargets } from './targets_popover.js'

/** Pixels of a letter in the field of the file, on average. */
const LETTER = 6
/** Letters that the field of the name has room for. */
const NAME_ROOM = 16
const APPLIES_TO = 'The expert it acts on; auto is what the file says of itself.'

/** Return the kind of row; `options()` gives the input's options: `lora_files` and `twins`. */
export function loraRows(options, node) {
  const files = () => options().lora_files ?? []
  const twins = () => options().twins ?? {}
  let loras = []
  let numBlocks // of the model of the last run
  let fault = { text: '', shown: '' }

  function row(context, index) {
    const own = () => withOurKeys(context.rows[index])
    const ownName = () => shortened(nameOf({ ...own(), name: undefined }), NAME_ROOM)
    const called = part => say(`LoRA {n} ${part}`, { n: index + 1 })
    const put = next => { context.set(index, next); refresh() }
    const done = next => { put(next); context.settled() }

    const enabled = el('button', {
      type: 'button', class: 'wl-switch', role: 'switch', 'aria-label': called('enabled'), title: say('on or off'), 'data-part': 'enabled',
      onclick: () => done(changed(own(), { enabled: own().enabled === false ? true : false }))
    })
    let room = 48
    const file = comboField({
      label: called('file'), value: own().path ?? '', class: 'wl-field wl-combo wl-file', placeholder: say('choose a LoRA'),
      show: path => shortened(path, room), groupOf: folderOf, nameOf: baseName,
      hint: searchHint,
      offers: typed => {
        const pairs = twins()
        return searched(files(), typed, pairs, file).map(name => [name, pairs[name] ? say('pair') : ''])
      },
      choose: path => done(addedTo(context.rows.toSpliced(index, 1), withFile(own(), path))),
      'data-part': 'file'
    })
    new ResizeObserver(() => {
      if (!file.isConnected) return // of a row that has gone
      room = Math.max(12, Math.floor((file.clientWidth - 10) / LETTER))
      if (document.activeElement !== file) file.settle(shortened(own().path ?? '', room))
    }).observe(file)
    const name = textField({
      label: called('name'), title: say('what the report, the plan and other nodes call it'), value: own().name ?? '',
      class: 'wl-field wl-name', placeholder: ownName(), done: text => renamed(text.trim()), 'data-part': 'name'
    })
    const card = iconButton('pi-info-circle', called('card'), () => showLoraCard(card, own().path, node, strength.enter), {
      'data-part': 'card', 'aria-haspopup': 'dialog', 'aria-expanded': 'false'
    })
    const strength = numberField({
      label: called('strength'), title: say('strength'), value: own().weight ?? 1,
      change: weight => put(changed(own(), { weight })), settled: context.settled, 'data-part': 'strength'
    })
    const lock = el('button', {
      type: 'button', class: 'wl-icon wl-lock', 'aria-label': called('own low strength'), 'data-part': 'lock',
      onclick: () => {
        const isOwn = own().low_noise_weight != null
        done(changed(own(), { low_noise_weight: isOwn ? null : (own().weight ?? 1) }))
        low.reset(own().low_noise_weight)
      }
    })
    const setLow = low_noise_weight => put(changed(own(), { low_noise_weight }))
    const low = lowStrength(called('low strength'), own().low_noise_weight, setLow, context.settled)
    const appliesTo = choice(called('applies to'), say(APPLIES_TO), EXPERTS.map(([value, text]) => [value, say(text)]), own().applies_to ?? 'auto', value => {
      done(appliedTo(own(), value))
    })
    const schedule = scheduleField({
      label: called('schedule'), value: own().schedule, change: value => done(changed(own(), { schedule: value })), 'data-part': 'schedule'
    })
    const targets = iconButton('pi-sliders-h', called('targets'), () => openTargets({
      label: called('target sliders'), value: own().targets, numBlocks, opener: targets, settled: context.settled,
      change: value => put(changed(own(), { targets: value }))
    }), { 'aria-haspopup': 'dialog', 'aria-expanded': 'false', 'data-part': 'targets' })
    const place = iconButton('pi-map-marker', called('place'), () => openPlaces({
      label: called('region and time'), row: own(), opener: place, settled: context.settled,
      change: (key, text) => put(changed(own(), { [key]: text, ...(key === 'region' ? { mask_sha256: undefined } : {}) }))
    }), { 'aria-haspopup': 'dialog', 'aria-expanded': 'false', 'data-part': 'place' })
    const where = el('span', { class: 'wl-where', 'aria-label': called('where') })
    const twin = el('span', { class: 'wl-twin', 'aria-label': called('twin') })
    const result = el('span', { class: 'wl-result', 'aria-label': called('result') })
    const element = el('div', { class: 'wl-row', role: 'listitem', 'aria-label': say('LoRA {n}', { n: index + 1 }) },
      el('div', { class: 'wl-line' }, moveHandle(context, index, called('move')), enabled, file, card, strength, lock, low.element,
        iconButton('pi-times', called('remove'), () => context.remove(index), { 'data-part': 'remove' })),
      el('div', { class: 'wl-line wl-second' }, name, where, twin, result, appliesTo, schedule.curve, schedule, targets, place,
        iconButton('pi-clone', called('duplicate'), () => context.duplicate(index), { 'data-part': 'duplicate' })))

    /** Take a name of its own, unless another row has it. */
    function renamed(text) {
      const taken = new Set(context.rows.toSpliced(index, 1).map(nameOf))
      const wanted = text && freeName(text, taken)
      name.settle(wanted)
      done(changed(own(), { name: wanted || undefined }))
    }

    /** Say what is wrong: by a run, with one of the texts, or that the file is gone; a repository is in no list. */
    function wrongWith(row, isMissing) {
      const told = (fault.text && rowAt(context.rows, fault.text) === index && fault.shown) || scheduleFaultOf(row.schedule, say)
      const inTargets = row.targets ? targetsFault(row.targets, say) : null
      const inPlace = regionFault(row.region, say) || timeFault(row.time, say)
      return told || inTargets || inPlace || (isMissing && isFileName(row.path) && say('not in the list of LoRAs; press R to read the folders anew'))
    }

    function refresh() {
      name.placeholder = ownName()
      const { path, applies_to, low_noise_weight } = own()
      const isOn = own().enabled !== false
      const isMissing = Boolean(path) && !files().includes(path)
      card.disabled = !path
      setAttribute(enabled, 'aria-checked', String(isOn))
      element.classList.toggle('wl-off', !isOn)
      setAttribute(file, 'aria-invalid', String(isMissing))
      file.title = isMissing ? say('{path} is not in the list of LoRAs; press R to read the folders anew', { path }) : (path ?? '')
      const isOwn = low_noise_weight !== undefined && low_noise_weight !== null
      setAttribute(lock, 'aria-pressed', String(isOwn))
      lock.replaceChildren(sign(isOwn ? 'pi-lock-open' : 'pi-lock'))
      lock.disabled = applies_to === 'high_noise'
      lock.title = say(isOwn ? 'one strength for both experts' : 'another strength for the low-noise expert')
      low.element.hidden = !isOwn
      setAttribute(targets, 'aria-pressed', String(Boolean(own().targets)))
      targets.title = own().targets ? say('targets: {targets}', { targets: targetsText(own().targets) }) : say('where in the network it acts')
      const places = placesOf(own())
      setAttribute(place, 'aria-pressed', String(Boolean(places)))
      where.textContent = places
      place.title = where.title = places ? say('acts on: {places}', { places }) : say('where in the picture and when in the clip it acts')
      appliesTo.value = applies_to ?? 'auto'
      showTwin(twin, own(), twins(), context.rows)
      const wrong = wrongWith(own(), isMissing)
      element.classList.toggle('wl-wrong', Boolean(wrong))
      showResult(result, wrong ? { wrong } : accountsOf(context.rows, loras)[index])
    }

    element.refresh = refresh
    refresh()
    return withRowMenu(element, context, index)
  }

  return {
    noun: 'LoRA',
    addText: 'add LoRA',
    about: 'The LoRAs, in the order of the report; { } shows them as text.',
    firstPart: 'file',
    height: 46,
    minWidth: 400,
    width: 520,
    row,
    blank: () => newLora(''),
    isWhole: row => Boolean(withOurKeys(row).path),
    duplicate: duplicateOf,
    rowsOf,
    tools: (context, root, node) => {
      takeHandedOver(context, root, node, files)
      return rowTools(context, node, files)
    },
    /** Take in what a run said of the LoRAs; the rows show it when they are drawn next. */
    account: (said, blocks = numBlocks) => {
      loras = said
      numBlocks = blocks
    },
    /** Take in what is wrong, in English and as it is shown, for the row that it names. */
    fault: (text, shown = text) => { fault = { text, shown } }
  }
}

/** Make the field of the second strength; `reset` gives it another number to start from. */
function lowStrength(label, value, change, settled) {
  const make = number => numberField({ label, title: say('strength on the low-noise expert'), value: number, change, settled, 'data-part': 'low' })
  const element = el('span', { class: 'wl-low' }, make(value ?? 1))
  return { element, reset: number => element.replaceChildren(make(number ?? 1)) }
}

function showTwin(element, row, twins, rows) {
  const twin = twinOf(row, twins, rows)
  element.textContent = twin ? `+ ${baseName(twin.file).replace(/\.safetensors$/, '')}` : targetsText(row.targets)
  const about = twin?.found ? say('twin found; it acts on the low-noise expert: {file}', twin) : say('low-noise file: {file}', twin ?? {})
  element.title = [twin ? about : '', row.targets ? say('targets: {targets}', { targets: targetsText(row.targets) }) : ''].filter(Boolean).join('\n')
}

function showResult(element, account) {
  if (account?.wrong) {
    element.textContent = element.title = account.wrong
    element.dataset.tone = 'wrong'
    return
  }
  const { counts, ranks, isIdle, tone, detail } = account ? inShort(account, told) : { tone: 'off', detail: '' }
  const words = [isIdle && say('acts nowhere'), counts && say('{counts} applied', { counts }), ranks && say('rank {ranks}', { ranks })]
  element.textContent = words.filter(Boolean).join(', ')
  element.title = detail
  element.dataset.tone = tone
}
