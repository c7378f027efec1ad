import assert from 'node:assert/strict'
import { chmod, copyFile, mkdir, rm, rmdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import type { Ran, TestNode, UnitRow } from './cluster.ts'
import { type Settled, settled } from './settled.ts'

/** A link is written as it is read by `readlink`; a program may be executed; a copy is of another file of the fixture. */
export type Content = string | Uint8Array | { link: string } | { program: string } | { copyOf: string }

/** Path below the fixture → content; null: there is no such file. */
export type Files = Readonly<Record<string, Content | null>>

/** What a workspace consists of besides its place. */
export interface State {
  files: Files
  /** Added to the environment of cargo; undefined takes a variable away. */
  env: NodeJS.ProcessEnv
  /** Arguments of cargo. */
  args: readonly string[]
}

/** One difference from a state in which everything was compiled before. */
export interface Mutation {
  title: string
  files?: Files
  /** Or as a function of where the fixture lies. */
  env?: NodeJS.ProcessEnv | ((dir: string) => NodeJS.ProcessEnv)
  args?: readonly string[]
  /** Units, as `crate kind` or `crate`, that this goes into: none of them may be recalled. */
  touches: readonly string[]
  /** What the programs then say that they did not say before. */
  says?: Readonly<Record<string, string>>
  /** The build must end as a failure that says this. */
  fails?: RegExp
}

export async function writeFiles(dir: string, files: Files): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(dir, name)
    await rm(path, { force: true, recursive: true })
    if (content === null) {
      await removeEmpty(dir, dirname(name))
      continue
    }
    await mkdir(dirname(path), { recursive: true })
    if (typeof content === 'string' || content instanceof Uint8Array) await writeFile(path, content)
    else if ('link' in content) await symlink(content.link, path)
    else if ('copyOf' in content) await copyFile(join(dir, content.copyOf), path)
    else {
      await writeFile(path, content.program)
      await chmod(path, 0o755)
    }
  }
}

/** Directories that were made for a file alone go with it. */
async function removeEmpty(dir: string, inside: string): Promise<void> {
  if (inside === '.') return
  try {
    await rmdir(join(dir, inside))
  } catch (error) {
    if (!(error instanceof Error && /ENOENT|ENOTEMPTY/.test(error.message))) throw error
    return
  }
  await removeEmpty(dir, dirname(inside))
}

/** A small package without dependencies. */
export function packageManifest(name: string, more = ''): string {
  return `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${more}`
}

/** What a fixture's programs say, by name: lines of the form `name=value`. */
export type Said = Readonly<Record<string, string>>

export function readSaid(text: string): Record<string, string> {
  const pairs = text.split('\n').filter((line) => line.includes('='))
  return Object.fromEntries(pairs.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]))
}

/** A workspace on one node, and what its programs say in its first state. */
export class Fixture {
  readonly node: TestNode
  readonly dir: string
  readonly base: State
  readonly #listen: (dir: string, env: NodeJS.ProcessEnv, ran: Ran) => Promise<Said>
  said: Said = {}

  /** @param listen runs what was built and tells what it says */
  constructor(
    node: TestNode,
    dir: string,
    base: State,
    listen: (dir: string, env: NodeJS.ProcessEnv, ran: Ran) => Promise<Said>,
  ) {
    this.node = node
    this.dir = dir
    this.base = base
    this.#listen = listen
  }

  /** Writes and builds the first state. */
  async prepare(): Promise<void> {
    await writeFiles(this.dir, this.base.files)
    const { ran } = await this.succeed(this.base)
    this.said = await this.#listen(this.dir, this.base.env, ran)
  }

  /** @param options keepTarget: not from nothing */
  async build(state: Pick<State, 'env' | 'args'>, options: { keepTarget?: true } = {}): Promise<Settled> {
    if (!options.keepTarget) await rm(join(this.dir, 'target'), { recursive: true, force: true })
    const env = { ...(await this.node.cargoEnv()), ...state.env }
    for (const [name, value] of Object.entries(env)) if (value === undefined) delete env[name]
    return await settled(this.node, 'cargo', state.args, { cwd: this.dir, env })
  }

  async succeed(state: Pick<State, 'env' | 'args'>): Promise<Settled> {
    const build = await this.build(state)
    assert.equal(build.ran.code, 0, build.ran.stdout + build.ran.stderr)
    return build
  }

  async listen(env: NodeJS.ProcessEnv, ran: Ran): Promise<Said> {
    return await this.#listen(this.dir, env, ran)
  }

  /** The files that a mutation touches, as they were. */
  before(mutation: Mutation): Files {
    return Object.fromEntries(Object.keys(mutation.files ?? {}).map((name) => [name, this.base.files[name] ?? null]))
  }
}

export function assertAllRecalled(units: readonly UnitRow[]): void {
  assert.notEqual(units.length, 0)
  assert.deepEqual(units.filter((unit) => !unit.outcome.startsWith('recalled')).map(describeUnit), [])
}

const describeUnit = (unit: UnitRow): string => `${unit.crate} ${unit.kind}: ${unit.outcome} ${unit.reason}`.trim()

/** Changed, it is compiled, and right; changed back, everything is recalled, and right. */
export async function assertNoticed(fixture: Fixture, mutation: Mutation): Promise<void> {
  const { base } = fixture
  const env = typeof mutation.env === 'function' ? mutation.env(fixture.dir) : mutation.env
  const changed = { env: { ...base.env, ...env }, args: mutation.args ?? base.args }
  await writeFiles(fixture.dir, mutation.files ?? {})
  try {
    if (mutation.fails !== undefined) {
      const { ran, units } = await fixture.build(changed)
      assert.notEqual(ran.code, 0, `the build succeeds: ${units.map(describeUnit).join('; ')}`)
      assert.match(ran.stderr, mutation.fails)
    } else {
      const { ran, units } = await fixture.succeed(changed)
      assert.deepEqual(await fixture.listen(changed.env, ran), { ...fixture.said, ...mutation.says })
      for (const touched of mutation.touches) {
        const rows = units.filter((unit) => touched === unit.crate || touched === `${unit.crate} ${unit.kind}`)
        assert.notDeepEqual(rows, [], `no unit ${touched} among ${units.map(describeUnit).join('; ')}`)
        assert.deepEqual(rows.filter((unit) => unit.outcome.startsWith('recalled')).map(describeUnit), [])
      }
    }
  } finally {
    await writeFiles(fixture.dir, fixture.before(mutation))
  }
  const { ran, units } = await fixture.succeed(base)
  assert.deepEqual(await fixture.listen(base.env, ran), fixture.said)
  assertAllRecalled(units)
}

/** One test a mutation. */
export function testMutations(fixture: () => Fixture, mutations: readonly Mutation[]): void {
  for (const mutation of mutations) test(mutation.title, () => assertNoticed(fixture(), mutation))
}
