import { bytes, counted, duration, table } from './render.ts'
import type { Report } from './shapes.ts'
import { trafficText } from './traffic-text.ts'

/** Units that a report shows without `--all`. */
const longestShown = 15

/** A report as lines for a terminal. */
export function reportLines(report: Report, options: { all: boolean }): string[] {
  const { units, totals } = report
  const seen = Object.entries(totals).filter(([, count]) => count > 0)
  const shown = options.all ? units : units.toSorted((a, b) => b.ms - a.ms).slice(0, longestShown)
  const hidden = units.length - shown.length
  return [
    `build ${report.session}  ${report.startedAt}  ${report.cwd}${report.over ? '' : '  (still running)'}`,
    `${counted(units.length, 'unit')} in ${duration(report.wallMs)}: ${seen.map(([name, count]) => `${count} ${name}`).join(', ')}`,
    `received ${bytes(report.bytesIn)}, sent ${bytes(report.bytesOut)}, ${counted(report.fallbacks, 'fallback')}`,
    ...(report.traffic === undefined ? [] : [`meanwhile ${trafficText(report.traffic)}`]),
    ...report.peers.map(
      (peer) => `  ${peer.name}: compiled ${peer.compiled}, recalled ${peer.recalled}, ${duration(peer.ms)}`,
    ),
    '',
    ...table(
      ['CRATE', 'KIND', 'OUTCOME', 'WHERE', 'TIME', 'WHY'],
      shown.map(({ crate, kind, outcome, where, ms, reason, fallback }) => {
        return [crate, kind, outcome, where, duration(ms), fallback === undefined ? reason : `${reason} (${fallback})`]
      }),
    ),
    ...(hidden > 0 ? [`… and ${hidden} shorter ones: shoal report ${report.session} --all`] : []),
  ]
}

/** The one line that closes `shoal build`. @param wallMs of the whole cargo run */
export function closingLine(report: Pick<Report, 'totals' | 'units' | 'peers' | 'fallbacks'>, wallMs: number): string {
  const count = (name: keyof Report['totals']): number => report.totals[name] ?? 0
  const mesh = count('compiled-mesh') + count('recalled-mesh')
  const parts = [
    `${mesh} from the mesh${mesh > 0 ? ` (${counted(report.peers.length, 'peer')})` : ''}`,
    `${count('recalled-here')} recalled`,
    `${count('compiled-here') + count('passed-through')} here`,
  ]
  const fallbacks = report.fallbacks > 0 ? `, ${counted(report.fallbacks, 'fallback')}` : ''
  return `${counted(report.units.length, 'unit')}: ${parts.join(', ')}${fallbacks} - ${duration(wallMs)}`
}

interface SessionRow {
  session: string
  cwd: string
  startedAt: string
  wallMs: number
  units: number
}

/** The list of builds, as the daemon orders it: newest first. */
export function sessionLines(sessions: readonly SessionRow[]): string[] {
  if (sessions.length === 0) return ['No builds yet.']
  const rows = sessions.map(({ session, startedAt, units, wallMs, cwd }) => {
    return [session, startedAt, String(units), duration(wallMs), cwd]
  })
  return table(['BUILD', 'STARTED', 'UNITS', 'TIME', 'DIRECTORY'], rows)
}
