/** What the server tells of LoRA files: the card of one, and of all the bases and tags that they are searched by. */

import { askServer, serverAddress } from './host.js'

let facts = {}
let progress = null // null before the first question, then { known, total } while there are more

/** Return the card of a file; an error says why there is none. */
export function fetchCard(file) {
  return askServer('/wanloom/card', { file })
}

/** Return the address of a file's preview; another one when the picture has changed. */
export function previewAddress(file, version) {
  return serverAddress('/wanloom/preview', { file, version })
}

/** Return file -> [bases, tags], as far as they are known. */
export function knownFacts() {
  return facts
}

/** Return how many files are known of how many while they are being read, else null. */
export function factsProgress() {
  return progress?.isOver ? null : progress
}

/** Let the facts be asked for anew when they are next needed, as other files may be there. */
export function forgetFacts() {
  progress = null
}

/** Ask for the facts of all files, once; `changed` is called whenever more of them are known. */
export async function needFacts(changed) {
  if (progress) return
  const own = (progress = { known: 0, total: 0, isOver: false })
  for (let next = 0; next !== null && own === progress;) {
    const answer = await askServer('/wanloom/cards-index', { from: next }).catch(() => null)
    if (!answer) break
    facts = { ...facts, ...answer.cards }
    next = answer.next
    Object.assign(own, { known: next ?? answer.total, total: answer.total })
    if (next !== null) changed()
  }
  own.isOver = true
  changed()
}
