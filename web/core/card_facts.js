/** What a card tells in its table: names and values, in the order of what people look for first. */

const TRAINING = {
  clips: 'trained on clips',
  steps: 'steps of the training',
  epochs: 'epochs',
  resolution: 'resolution',
  batch_size: 'batch size',
  learning_rate: 'learning rate',
  optimizer: 'optimizer',
  trained_on: 'trained on',
  trainer: 'trainer',
  captions: 'frequent captions'
}
const EXPERTS = { high_noise: 'high', low_noise: 'low', both: 'both' }

/** Return [name, value, whether the value is a word of ours] of all that a card tells. */
export function factsOf(card) {
  const told = card.base_told && card.base_told !== card.base ? `${card.base_told} (${card.sources.base_told})` : ''
  const facts = [
    ['base', [card.base, told].filter(Boolean).join('; ')],
    ['expert', EXPERTS[card.expert] ?? '', true],
    ['told by', card.expert_source],
    ['for', card.purpose, true],
    ['rank', card.ranks.length > 4 ? `${card.ranks[0]} – ${card.ranks.at(-1)}` : card.ranks.join(', ')],
    ['kind', card.kinds.filter(kind => kind !== 'lora').join(', ')],
    ['tags', card.tags.join(', ')],
    ...Object.entries(TRAINING).map(([key, name]) => [name, card.training[key] ?? ''])
  ]
  return facts.filter(([, value]) => value)
}

/** Return a number of bytes as people say it. */
export function sizeText(bytes) {
  const units = ['B', 'kB', 'MB', 'GB']
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3))
  const number = bytes / 1000 ** power
  return `${power && number < 10 ? number.toFixed(1) : Math.round(number)} ${units[power]}`
}

/** Return strengths that are advised as one text. */
export function strengthText({ low, high }) {
  return low === high ? `${low}` : `${low} – ${high}`
}
