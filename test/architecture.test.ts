import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { errorTable } from '../src/base/errors.ts'
import { reasons } from '../src/plan/classify.ts'

/** What `src/README.md` promises about the house, held against the house. */
const root = fileURLToPath(new URL('..', import.meta.url))
const src = join(root, 'src')
const maxLines = 400

interface Source {
  /** Relative to the checkout. */
  path: string
  text: string
  lines: number
  /** Relative to the checkout; only imports of our own files. */
  imports: string[]
}

let house: string
let sources: Source[]

before(async () => {
  house = await readFile(join(src, 'README.md'), 'utf8')
  sources = await sourcesIn([src, join(root, 'test')])
})

test('the rooms of the table are the folders of src', async () => {
  const entries = await readdir(src, { withFileTypes: true })
  const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  assert.deepEqual([...rooms().keys()].toSorted(), folders.toSorted())
  assert.deepEqual(
    entries.filter((entry) => !entry.isDirectory()).map((entry) => entry.name),
    ['README.md'],
  )
})

test('a room imports only what the table allows', () => {
  const allowed = rooms()
  const wrong = sources
    .filter((source) => source.path.startsWith('src/'))
    .flatMap((source) => source.imports.map((imported) => ({ from: source.path, imported })))
    .filter(({ from, imported }) => {
      const [room, target] = [roomOf(from), roomOf(imported)]
      return target === undefined || (target !== room && !allowed.get(room ?? '')?.has(target))
    })
    .map(({ from, imported }) => `${from} imports ${imported}`)
  assert.deepEqual(wrong, [])
})

test('every imported file exists', () => {
  const known = new Set(sources.map((source) => source.path))
  const dangling = sources.flatMap((source) =>
    source.imports.filter((path) => !known.has(path)).map((path) => `${source.path} imports ${path}`),
  )
  assert.deepEqual(dangling, [])
})

test('no file imports itself over others', () => {
  assert.deepEqual(cycles(new Map(sources.map((source) => [source.path, source.imports]))), [])
})

test('cycles() finds a cycle and nothing but cycles', () => {
  const graph = new Map([
    ['a', ['b', 'd']],
    ['b', ['c']],
    ['c', ['a']],
    ['d', ['c']],
    ['e', ['a']],
  ])
  assert.deepEqual(cycles(graph), ['a → b → c → a'])
  assert.deepEqual(
    cycles(
      new Map([
        ['a', ['b', 'c']],
        ['b', ['c']],
        ['c', []],
      ]),
    ),
    [],
  )
})

test(`no file is longer than ${maxLines} lines`, () => {
  const long = sources.filter((source) => source.lines > maxLines && !isGenerated(source.path))
  assert.deepEqual(
    long.map((source) => `${source.path}: ${source.lines}`),
    [],
  )
})

test('the error codes of the page are the error codes of the table, with the same words', () => {
  const rows = [...house.matchAll(/^\| `(ERR_[A-Z_]+)` \| (.*?) \| (.*) \|$/gm)]
  const listed = rows.map(([, code, title, hint]) => [code, title, hint])
  const defined = Object.entries(errorTable).map(([code, { title, hint }]) => [code, title, hint])
  assert.deepEqual(listed.toSorted(byFirst), defined.toSorted(byFirst))
})

test('importsOf() sees every form of import', () => {
  const text = [
    "import { a } from './a.ts'",
    "import type { B } from '../wire/b.ts'",
    "import './c.ts'",
    "export { d } from './d.ts'",
    "import {\n  e,\n} from './e.mjs'",
    "export function f() {\n  return new URL('./no.ts', import.meta.url)\n}",
    `const g = await ${'import'}('./g.ts')`,
    "import fs from 'node:fs'",
  ].join('\n')
  const found = importsOf(text, 'src/base/x.ts')
  const expected = ['a.ts', '../wire/b.ts', 'c.ts', 'd.ts', 'e.mjs', 'g.ts'].map((path) => join('src/base', path))
  assert.deepEqual(found, expected)
})

/** Room → rooms that it may import, from the table in `src/README.md`. */
function rooms(): Map<string, Set<string>> {
  const rows = [...house.matchAll(/^\| `([a-z]+)\/` \| .* \| ([^|]*) \|$/gm)]
  assert.ok(rows.length >= 10, 'the table of rooms is not where it was')
  const names = rows.map(([, name]) => name ?? '')
  return new Map(
    rows.map(([, name = '', cell = '']) => {
      if (cell === 'all') return [name, new Set(names)]
      const allowed = cell === 'nothing above' ? [] : cell.split(', ')
      for (const room of allowed) assert.ok(names.includes(room), `${name}/ may import an unknown room ${room}`)
      return [name, new Set(allowed)]
    }),
  )
}

function roomOf(path: string): string | undefined {
  return /^src\/([a-z]+)\//.exec(path)?.[1]
}

function isGenerated(path: string): boolean {
  return path.includes('/generated/')
}

async function sourcesIn(dirs: readonly string[]): Promise<Source[]> {
  const found: Source[] = []
  for (const dir of dirs) {
    for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !/\.(ts|mjs|rs)$/.test(entry.name)) continue
      const file = join(entry.parentPath, entry.name)
      const path = relative(root, file)
      const text = await readFile(file, 'utf8')
      const imports = entry.name.endsWith('.rs') ? [] : importsOf(text, path)
      found.push({ path, text, lines: text.trimEnd().split('\n').length, imports })
    }
  }
  return found
}

/** Our own files that a source imports, in whatever form; types count, for a type is knowledge too. */
function importsOf(text: string, path: string): string[] {
  const forms = /^(?:import|export)\s+(?:[^'"`()=]*?\sfrom\s+)?['"]([^'"\n]+)['"]|\bimport\(['"]([^'"\n]+)['"]\)/gm
  return [...text.matchAll(forms)]
    .map(([, plain, dynamic]) => plain ?? dynamic ?? '')
    .filter((name) => name.startsWith('.') && /\.(ts|mjs)$/.test(name))
    .map((name) => relative(root, resolve(root, dirname(path), name)))
}

/** One line per cycle that a walk through the graph comes upon. */
function cycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = []
  const finished = new Set<string>()
  const way: string[] = []
  const visit = (node: string): void => {
    const start = way.indexOf(node)
    if (start >= 0) found.push([...way.slice(start), node].join(' → '))
    if (start >= 0 || finished.has(node)) return
    way.push(node)
    for (const next of graph.get(node) ?? []) visit(next)
    way.pop()
    finished.add(node)
  }
  for (const node of graph.keys()) visit(node)
  return found
}

function byFirst(a: readonly (string | undefined)[], b: readonly (string | undefined)[]): number {
  return (a[0] ?? '') < (b[0] ?? '') ? -1 : 1
}

test('the reasons of the page are the reasons of the code, with the same words', async () => {
  const page = await readFile(new URL('../src/README.md', import.meta.url), 'utf8')
  for (const [reason, meaning] of Object.entries(reasons)) {
    assert.ok(page.includes(`| \`${reason}\` | ${meaning} |`), reason)
  }
})
