/** The losses of a training as lines of a small plot. */

const EDGE = 4

/**
 * Return the lines to draw in a box of width x height, and the range of losses that it spans.
 *
 * curves is `{ trained, held_out }`, each expert -> [[step, loss], ...]; the plot is as wide as all steps. A few losses of
 * the first steps that tower above all others are cut off at the top, so that the rest is not pressed flat.
 */
export function linesOf(curves, steps, width, height) {
  const series = Object.entries(curves).flatMap(([kind, experts]) =>
    Object.entries(experts).map(([expert, points]) => ({ kind, expert, points }))
  )
  const losses = series.flatMap(one => one.points.map(point => point[1])).toSorted((a, b) => a - b)
  if (!losses.length) return { lines: [], low: null, high: null }
  const low = losses[0]
  const high = losses[Math.min(losses.length - 1, Math.ceil(losses.length * 0.98))]
  const x = step => round(EDGE + (step / Math.max(1, steps)) * (width - 2 * EDGE))
  const y = loss => round(Math.max(EDGE, height - EDGE - ((loss - low) / (high - low || 1)) * (height - 2 * EDGE)))
  const lines = series.map(({ kind, expert, points }) => ({
    kind,
    expert,
    points: points.map(([step, loss]) => [x(step), y(loss)])
  }))
  return { lines, low, high }
}

function round(number) {
  return Math.round(number * 10) / 10
}
