import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codeOf } from '../base/errors.ts'

const maxBytes = 16 << 20

/** A package that `Cargo.lock` names. */
export interface LockedPackage {
  name: string
  version: string
  /** Whether it comes from a registry. */
  published: boolean
  /** Places in the list of those that it needs, for any kind of machine. */
  needs: readonly number[]
}

/** The nearest `Cargo.lock` at or above a directory; undefined when there is none, or one that is too large. */
export async function nearestLock(dir: string): Promise<Buffer | undefined> {
  for (let at = dir; ; at = dirname(at)) {
    try {
      const lock = await readFile(join(at, 'Cargo.lock'))
      return lock.length > maxBytes ? undefined : lock
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' || dirname(at) === at) return undefined
    }
  }
}

/** What a `Cargo.lock` says of packages, as cargo writes it. What is written otherwise is left out. @param most of more, none */
export function lockedPackages(lock: string, most: number): LockedPackage[] {
  const found = lock.split(/^\[\[package\]\]$/m).slice(1)
  if (found.length > most) return []
  const read = found.flatMap((text) => {
    const value = (key: string): string | undefined => new RegExp(`^${key} = "(.*)"$`, 'm').exec(text)?.[1]
    const [name, version] = [value('name'), value('version')]
    if (name === undefined || version === undefined) return []
    const listed = /^dependencies = \[([^\]]*)\]/m.exec(text)?.[1] ?? ''
    const needs = [...listed.matchAll(/"([^" ]+)(?: ([^" ]+))?[^"]*"/g)].map(([, need = '', of]) => ({ need, of }))
    return [{ name, version, published: value('source')?.startsWith('registry+') === true, needs }]
  })
  const places = new Map<string, number[]>()
  for (const [at, { name }] of read.entries()) places.set(name, [...(places.get(name) ?? []), at])
  return read.map((one) => ({
    ...one,
    needs: one.needs.flatMap(({ need, of }) => {
      const named = places.get(need) ?? []
      return of === undefined ? named : named.filter((at) => read[at]?.version === of)
    }),
  }))
}
