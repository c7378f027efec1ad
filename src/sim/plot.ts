export interface Series {
  name: string
  points: readonly (readonly [x: number, y: number])[]
}

export interface Plot {
  title: string
  x: string
  y: string
  logX?: boolean
  /** A horizontal line, such as a target. */
  mark?: number
  series: readonly Series[]
}

const [width, height] = [760, 440]
const [left, right, top, bottom] = [64, 190, 40, 52]
const colours = ['#111111', '#d62728', '#1f77b4', '#2ca02c', '#ff7f0e', '#9467bd', '#8c564b', '#17becf']

/** A line chart as an SVG document. */
export function drawPlot({ title, x, y, logX = false, mark, series }: Plot): string {
  const all = series.flatMap(({ points }) => points)
  const scale = (value: number): number => (logX ? Math.log10(Math.max(value, 1e-3)) : value)
  const xs = all.map(([at]) => scale(at))
  const [least, most] = [Math.min(...xs), Math.max(...xs)]
  const highest = Math.max(...all.map(([, value]) => value), mark ?? 0) * 1.05 || 1
  const toX = (value: number): number => left + ((scale(value) - least) / (most - least || 1)) * (width - left - right)
  const toY = (value: number): number => height - bottom - (value / highest) * (height - top - bottom)
  const parts = [
    text(left, 24, title, 15),
    text(left, height - 12, x, 12),
    text(8, top - 6, y, 12),
    `<path d="M${left} ${top}V${height - bottom}H${width - right}" fill="none" stroke="#888"/>`,
  ]
  for (let tick = 0; tick <= 4; tick++) {
    const [value, at] = [(highest * tick) / 4, least + ((most - least) * tick) / 4]
    parts.push(text(8, toY(value) + 4, short(value), 11))
    parts.push(
      text(left + ((width - left - right) * tick) / 4 - 8, height - bottom + 16, short(logX ? 10 ** at : at), 11),
    )
  }
  if (mark !== undefined) {
    parts.push(`<path d="M${left} ${toY(mark)}H${width - right}" stroke="#888" stroke-dasharray="4 4"/>`)
  }
  for (const [index, { name, points }] of series.entries()) {
    const colour = colours[index % colours.length] ?? '#000'
    const line = points.map(
      ([at, value], order) => `${order === 0 ? 'M' : 'L'}${toX(at).toFixed(1)} ${toY(value).toFixed(1)}`,
    )
    parts.push(`<path d="${line.join('')}" fill="none" stroke="${colour}" stroke-width="2"/>`)
    parts.push(`<rect x="${width - right + 14}" y="${top + index * 20}" width="12" height="12" fill="${colour}"/>`)
    parts.push(text(width - right + 32, top + 10 + index * 20, name, 12))
  }
  const view = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${view} font-family="sans-serif">\n<rect width="100%" height="100%" fill="#fff"/>\n${parts.join('\n')}\n</svg>\n`
}

function text(x: number, y: number, content: string, size: number): string {
  const safe = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" font-size="${size}">${safe}</text>`
}

function short(value: number): string {
  return value >= 1000 ? `${Number((value / 1000).toPrecision(3))}k` : String(Number(value.toPrecision(3)))
}
