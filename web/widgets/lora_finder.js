/** The finding of a LoRA file by what is typed into a row: by its path, its folder, its model, its tags. */

import { matching } from '../core/file_list.js'
import { queryOf } from '../core/lora_search.js'
import { factsProgress, knownFacts, needFacts } from '../lora_facts.js'
import { say } from '../words.js'

/** Return the files that fit; where their cards are needed and not yet read, the field's list is filled again as they come. */
export function searched(files, typed, twins, field) {
  if (queryOf(typed).needsFacts) needFacts(() => field.refill())
  return matching(files, typed, twins, knownFacts())
}

/** Return what stands above the list. */
export function searchHint(typed) {
  const { fault, needsFacts } = queryOf(typed)
  if (fault) return fault
  const progress = needsFacts && factsProgress()
  return progress ? say('reading the files: {known} of {total}', progress) : say('search: name, folder/, base:…, tag:…, /regular expression/')
}
