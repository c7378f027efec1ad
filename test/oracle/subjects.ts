import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { capture } from '../support/cluster.ts'
import { packageManifest, writeFiles } from '../support/fixture.ts'
import type { Subject } from './oracle.ts'
import { packages } from './packages.ts'

const examples = fileURLToPath(new URL('../../examples', import.meta.url))
const registry = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'registry')

async function must(program: string, args: string[], cwd: string): Promise<string> {
  const ran = await capture(program, args, { cwd })
  if (ran.code !== 0) throw new Error(`${program} ${args.join(' ')}: ${ran.stderr}`)
  return ran.stdout
}

const fetched = (dir: string): Promise<string> => must('cargo', ['fetch', '--quiet'], dir)

function example(name: string, file: string, text: string): Subject {
  const write = async (dir: string): Promise<void> => {
    await cp(join(examples, name), dir, { recursive: true, filter: (path) => !/\/target(\/|$)/.test(path) })
    if (name !== 'offline') await fetched(dir)
  }
  return { name, write, edit: { file, text } }
}

/** The sources of a published package themselves, with its tests. */
function published(name: string, version: string, file: string): Subject {
  const write = async (dir: string): Promise<void> => {
    const asking = await mkdtemp(join(tmpdir(), 'shoal-published-'))
    try {
      const manifest = packageManifest('asking', `[dependencies]\n${name} = "=${version}"\n`)
      await writeFiles(asking, { 'Cargo.toml': manifest, 'src/lib.rs': '' })
      await fetched(asking)
      const metadata = await must('cargo', ['metadata', '--format-version=1', '--offline'], asking)
      const { packages: known } = JSON.parse(metadata) as { packages: { name: string; manifest_path: string }[] }
      const manifestPath = known.find((candidate) => candidate.name === name)?.manifest_path
      if (manifestPath === undefined) throw new Error(`cargo knows no ${name}`)
      await cp(join(manifestPath, '..'), dir, { recursive: true })
      await rm(join(dir, '.cargo-ok'), { force: true })
      await rm(join(dir, 'Cargo.lock'), { force: true })
      await fetched(dir)
    } finally {
      await rm(asking, { recursive: true })
    }
  }
  return { name, write, edit: { file, text: '\nfn added_and_not_used() -> u8 {\n    7\n}\n' } }
}

const added = '\n/// Added.\npub fn added() -> u8 {\n    let not_used = 7;\n    7\n}\n'

/** Those that need crates.io come last. */
export const subjects: readonly Subject[] = [
  example('offline', 'crates/decimal/src/lib.rs', added),
  ...Object.entries(packages).map(([name, { files, edit }]): Subject => {
    const write = async (dir: string): Promise<void> => {
      await writeFiles(dir, files)
      await fetched(dir)
    }
    return { name, write, edit }
  }),
  published('semver', '1.0.28', 'src/lib.rs'),
  // Denies what newer versions of clippy warn of.
  { ...published('smallvec', '1.16.5', 'src/lib.rs'), fails: ['clippy'] },
  example('workspace', 'crates/slug/src/lib.rs', added),
]

/**
 * A second cargo home: cargo unpacks the same packages into it by itself. Hard links would not do, because whoever makes
 * one changes the time stamps of the first home's files, and compiles that read them meanwhile.
 * @param dir where to make it
 */
export async function copyCargoHome(dir: string): Promise<string> {
  const home = join(dir, 'another user', '.cargo')
  await copyPackages(home)
  await writeFile(join(home, 'config.toml'), '')
  return home
}

/** Puts what cargo has downloaded into another cargo home. */
export async function copyPackages(home: string): Promise<void> {
  for (const part of ['cache', 'index']) {
    await cp(join(registry, part), join(home, 'registry', part), { recursive: true, preserveTimestamps: true })
  }
}
