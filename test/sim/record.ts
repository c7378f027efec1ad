import { writeFileSync } from 'node:fs'
import type { Recording } from '../../src/sim/recording.ts'
import { recordBuild } from './recorder.ts'

// node test/sim/record.ts PACKAGE-DIRECTORY OUTPUT.json: builds a package with a nightly cargo and writes down its units.

/** One line per unit. */
function format({ units, ...head }: Recording): string {
  const lines = units.map((unit) => JSON.stringify(Object.values(unit)))
  return `${JSON.stringify(head).slice(0, -1)},"units":[\n${lines.join(',\n')}\n]}\n`
}

const [directory, output] = process.argv.slice(2)
if (directory === undefined || output === undefined) throw new Error('usage: record.ts PACKAGE-DIRECTORY OUTPUT.json')
const recording = recordBuild(directory, 'nightly')
writeFileSync(output, format(recording))
const cpu = recording.units.reduce((sum, { ms }) => sum + ms, 0)
process.stdout.write(`${recording.package}: ${recording.units.length} units, ${(cpu / 1000).toFixed(1)} s of CPU\n`)
