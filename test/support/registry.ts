import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { capture } from './cluster.ts'
import { type Texts, writeAll } from './scripts.ts'

/** A package as it is published; `files` without the manifest, which is made of these. */
export interface Published {
  name: string
  version: string
  /** Lines of the manifest after name, version and edition. */
  manifest: string
  files: Texts
}

/**
 * Stands in for crates.io: what cargo takes from there it unpacks like any published package.
 * @param dir is made
 */
export async function publish(dir: string, packages: readonly Published[]): Promise<void> {
  for (const { name, version, manifest, files } of packages) {
    const own = `${name}-${version}`
    const head = `[package]\nname = "${name}"\nversion = "${version}"\nedition = "2021"\n`
    await writeAll(join(dir, own), { ...files, 'Cargo.toml': `${head}${manifest}` })
    const crate = join(dir, `${own}.crate`)
    const packed = await capture('tar', ['-C', dir, '-czf', crate, own])
    assert.equal(packed.code, 0, packed.stderr)
    await rm(join(dir, own), { recursive: true })
    const cksum = createHash('sha256')
      .update(await readFile(crate))
      .digest('hex')
    const entry = { name, vers: version, deps: [], cksum, features: {}, yanked: false }
    const index = join(dir, 'index', name.slice(0, 2), name.slice(2, 4))
    await mkdir(index, { recursive: true })
    await writeFile(join(index, name), `${JSON.stringify(entry)}\n`)
  }
}

/** A home of cargo's in which crates.io is that directory. */
export async function cargoHome(home: string, registry: string): Promise<void> {
  const source = `[source.crates-io]\nreplace-with = "here"\n[source.here]\nlocal-registry = ${JSON.stringify(registry)}\n`
  await writeAll(home, { 'config.toml': source })
}
