import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** lib: rlib and rmeta. macro, script, link: linked, so they need all that they depend on. run: a build script's run. */
export type RecordedKind = 'lib' | 'macro' | 'script' | 'run' | 'link'

export interface RecordedUnit {
  name: string
  kind: RecordedKind
  /** Indices of the units that it names as its dependencies. */
  depends: number[]
  /** CPU milliseconds until its metadata was there, and altogether. */
  metadataMs: number
  ms: number
  sourceBytes: number
  rmetaBytes: number
  /** All files that it leaves, the rmeta among them. */
  outputBytes: number
}

/** A build that cargo did once. In its file each unit is an array of its fields in this order. */
export interface Recording {
  package: string
  rustc: string
  profile: string
  jobs: number
  units: RecordedUnit[]
}

type Row = [string, RecordedKind, number[], number, number, number, number, number]

function readRecording(file: string): Recording {
  const { units, ...head } = JSON.parse(readFileSync(file, 'utf8')) as Omit<Recording, 'units'> & { units: Row[] }
  return {
    ...head,
    units: units.map(([name, kind, depends, metadataMs, ms, sourceBytes, rmetaBytes, outputBytes]) => {
      return { name, kind, depends, metadataMs, ms, sourceBytes, rmetaBytes, outputBytes }
    }),
  }
}

/** All recordings of a directory, by name. */
export function readRecordings(directory: string): Recording[] {
  const files = readdirSync(directory).filter((file) => file.endsWith('.json'))
  return files.toSorted().map((file) => readRecording(join(directory, file)))
}
