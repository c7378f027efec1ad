import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { nameDiagnostics } from '../../src/plan/diagnostics.ts'
import { placeRoots, type Root, rootToken, sortRoots } from '../../src/plan/roots.ts'

const run = promisify(execFile)
const roots = sortRoots([
  { name: 'workspace', path: '/home/ann/ws' },
  { name: 'toolchain', path: '/home/ann/.rustup/toolchains/stable' },
])
const ws = rootToken('workspace')

const span = (more: object = {}): object => ({ file_name: '/home/ann/ws/src/lib.rs', line_start: 3, ...more })
const line = (more: object = {}): string =>
  `${JSON.stringify({ $message_type: 'diagnostic', message: 'unused', spans: [span()], children: [], ...more })}\n`
const rendered = (excerpt: string): string =>
  `warning: unused\n --> /home/ann/ws/src/lib.rs:3:7\n  |\n3 | ${excerpt}\n  |\n`

/** What is written elsewhere when it was written here. */
function elsewhere(text: string): string | 'bound' | undefined {
  const named = nameDiagnostics(text, roots)
  if (named === undefined) return undefined
  assert.equal(placeRoots(named.text, roots), text)
  const there: Root[] = [{ name: 'workspace', path: '/home/ben/elsewhere' }]
  return named.bound ? 'bound' : placeRoots(named.text, there)
}

describe('the roots in what rustc says', () => {
  test('are named in the names of files, wherever a diagnostic has one', () => {
    const expansion = { span: span(), macro_decl_name: 'm!', def_site_span: span() }
    const child = { message: 'here', spans: [span({ expansion })], children: [] }
    const text = line({ children: [child], rendered: rendered('let a = 1;') })
    assert.equal(elsewhere(text), text.replaceAll('/home/ann/ws', '/home/ben/elsewhere'))
    assert.equal(nameDiagnostics(text, roots)?.text, text.replaceAll('/home/ann/ws', ws))
  })

  test('are named in coloured headers, of every style, and inside a report on future incompatibility', () => {
    const coloured = [
      ' \u001b[1m\u001b[94m--> \u001b[0m/home/ann/ws/src/lib.rs:3:7',
      ' \u001b[1m\u001b[94m::: \u001b[0m/home/ann/ws/src/lib.rs:12',
      '   ╭▸ /home/ann/ws/src/lib.rs:3:7',
      '   ⸬  /home/ann/ws/src/lib.rs:3:7',
    ].join('\n')
    const diagnostic = { message: 'm', spans: [span()], rendered: coloured }
    const text = `${JSON.stringify({ $message_type: 'future_incompat', future_incompat_report: [{ diagnostic }] })}\n`
    assert.equal(elsewhere(text), text.replaceAll('/home/ann/ws', '/home/ben/elsewhere'))
  })

  test('bind it to its place anywhere else', () => {
    const path = '/home/ann/ws/x'
    const cases: Record<string, string> = {
      'an excerpt': line({ rendered: rendered(`let a = "${path}";`) }),
      'the text of a span': line({ spans: [span({ text: [{ text: `let a = "${path}";` }] })] }),
      'a message': line({ message: `see ${path}` }),
      'a message like a header': line({ message: 'a\n --> /home/ann/ws/src/lib.rs:3:7' }),
      'a label': line({ spans: [span({ label: path })] }),
      'a suggestion': line({ spans: [span({ suggested_replacement: `"${path}"` })] }),
      'a header of a file that it does not speak of': line({ rendered: ' --> /home/ann/ws/src/other.rs:3:7' }),
      'a name with two of them': line({ spans: [span({ file_name: `${path}:/home/ann/ws` })] }),
      'a name with something before it': line({ spans: [span({ file_name: `x${path}` })] }),
      'no JSON': `warning: ${path}\n`,
      'a key': line({ [path]: 1 }),
      'JSON that rustc would not write so': line().replace('"spans":', '"spans": '),
      'nested without end': `${'{"a":'.repeat(100_000)}"${path}"${'}'.repeat(100_000)}\n`,
    }
    for (const [what, text] of Object.entries(cases)) assert.equal(elsewhere(text), 'bound', what)
    assert.equal(elsewhere(line({ rendered: rendered('let a = 1;') }) + cases['a label']), 'bound')
  })

  test('are not in what only begins like one', () => {
    const text = `${line({ spans: [], message: '/home/ann/ws-2/x' })}plain words\n`
    assert.equal(elsewhere(text), text)
    assert.equal(elsewhere(''), '')
  })

  test('bind it to its place by another way to one of them, which stays as it is', () => {
    const text = line().replaceAll('/home/ann/ws', '/mnt/disk/ws')
    const named = nameDiagnostics(text, sortRoots([...roots, { name: 'workspace', path: '/mnt/disk/ws', alias: true }]))
    assert.deepEqual(named, { text, bound: true })
  })

  test('cannot be named in a text that names some already', () => {
    assert.equal(elsewhere(`made by a macro: ${ws}/x\n`), undefined)
  })
})

describe('what rustc itself writes', () => {
  const dirs: string[] = []
  after(async () => {
    for (const dir of dirs) await rm(dir, { recursive: true, force: true })
  })

  /** The same source under two directories; the text of one as it is rendered for the other, and what rustc writes there. */
  async function twice(source: (dir: string) => string): Promise<{ recalled: string | undefined; fresh: string }> {
    const written: { dir: string; stderr: string }[] = []
    for (const name of ['ann and more', 'ben']) {
      const parent = await mkdtemp(join(tmpdir(), 'shoal-diagnostics-'))
      dirs.push(parent)
      const dir = join(parent, name)
      await mkdir(dir)
      await writeFile(join(dir, 'lib.rs'), source(dir))
      const args = ['--crate-type', 'lib', '--emit', 'metadata', '--out-dir', dir, join(dir, 'lib.rs')]
      const json = ['--error-format=json', '--json=diagnostic-rendered-ansi,future-incompat']
      written.push({ dir, stderr: (await run('rustc', [...args, ...json])).stderr })
    }
    const [here, there] = written
    assert.ok(here !== undefined && there !== undefined)
    const named = nameDiagnostics(here.stderr, [{ name: 'workspace', path: here.dir }])
    assert.notEqual(here.stderr, there.stderr)
    const recalled =
      named?.bound === false ? placeRoots(named.text, [{ name: 'workspace', path: there.dir }]) : undefined
    return { recalled, fresh: there.stderr }
  }

  test('is the same in another directory, with macros and several files', async () => {
    const source = `macro_rules! made { () => { let unused = 1; } }
pub mod inner { #[deprecated] pub fn old() {} }
pub fn f() { made!(); inner::old(); let x = 5; match x { 1 => {} 1 => {} _ => {} } }
`
    const { recalled, fresh } = await twice(() => source)
    assert.equal(recalled, fresh)
    assert.match(fresh, /deprecated function.*unreachable pattern.*unused variable/s)
  })

  test('is bound when an excerpt spells the directory', async () => {
    const { recalled } = await twice((dir) => `pub fn f() { let unused = "${dir}/x"; }\n`)
    assert.equal(recalled, undefined)
  })
})
