import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { findsFault, saidIn, saysSame, widest } from '../../src/recall/said.ts'

const run = promisify(execFile)

/** Warnings of many a kind: with suggestions, several lines, long lines, a macro of the standard library in them. */
const source = `#![warn(clippy::all)]
pub fn f(flag: bool) -> u8 {
    let unused = 1; let mut never = ${'2 + '.repeat(60)}"quite a long line of which a narrow terminal shows a part only".len();
    if (flag) { println!("{}", (never)); }
    let closure = |x: u8| {
        x
    };
    #[allow(deprecated)]
    unsafe { std::mem::zeroed::<&u8>() };
    let _ = std::mem::uninitialized::<u8>;
    3
}
fn dead() {}
#[derive(Debug)]
struct S { field: u8 }
`

describe('what rustc says', () => {
  test('may be nested as far as somebody likes', () => {
    // As deep as JSON goes while all this is interpreted, which takes the most of a stack.
    for (const levels of [10, 2_000, 3_000, 3_500, 4_000, 100_000]) {
      const line = Buffer.from(`{"children":${'['.repeat(levels)}${']'.repeat(levels)}}`)
      assert.equal(saysSame(saidIn(line), line, { beside: true }), true, `${levels} levels`)
      assert.equal(findsFault(line, false), false)
    }
  })

  let dir = ''
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'shoal-said-'))
    await writeFile(join(dir, 'lib.rs'), source)
  })
  after(() => rm(dir, { recursive: true, force: true }))

  async function rustc(...more: string[]): Promise<Buffer> {
    const options = ['--crate-type', 'lib', '--edition', '2021', '--emit', 'metadata', '--error-format=json', ...more]
    const { stderr } = await run('rustc', [...options, '--out-dir', dir, 'lib.rs'], { cwd: dir })
    return Buffer.from(
      stderr
        .split('\n')
        .filter((line) => !line.includes('"$message_type":"artifact"'))
        .join('\n'),
    )
  }
  const agree = (theirs: Buffer, ours: Buffer, beside = true): boolean => saysSame(saidIn(theirs), ours, { beside })

  test('is the same however wide the terminal is, with colours or without', async () => {
    for (const json of ['--json=diagnostic-rendered-ansi', '--json=artifacts', '--json=diagnostic-unicode']) {
      const said = [await rustc(json)]
      for (const width of [20, 40, 100, 140, 2000]) said.push(await rustc(json, `--diagnostic-width=${width}`))
      assert.ok(new Set(said.map(String)).size >= 4, 'they differ')
      const ours = await rustc(json, `--diagnostic-width=${widest}`)
      for (const theirs of [...said, ours]) assert.ok(agree(theirs, ours))
    }
  })

  test('is the same in another order, and where the standard library has its sources', async () => {
    const said = await rustc()
    const lines = said.toString().trimEnd().split('\n')
    assert.ok(lines.length > 5)
    assert.ok(agree(Buffer.from(lines.toReversed().join('\n')), said))
    const elsewhere = JSON.stringify({
      message: 'm',
      spans: [
        { file_name: '/rustc/0123abc/library/core/src/a.rs', byte_start: 3, is_primary: false, label: null, text: [] },
      ],
      rendered: 'warning: m\n --> /rustc/0123abc/library/core/src/a.rs:1:1\n',
    })
    const installed = JSON.stringify({
      message: 'm',
      spans: [
        {
          file_name: '@@/lib/rustlib/src/rust/library/core/src/a.rs',
          byte_start: 3,
          is_primary: false,
          label: null,
          text: ['x'],
        },
      ],
      rendered: 'warning: m\n   --> @@/lib/rustlib/src/rust/library/core/src/a.rs:1:1\n    |\n12  | more text\n',
    }).replaceAll('@@', '\0toolchain\0')
    assert.ok(agree(Buffer.from(elsewhere), Buffer.from(installed)))
    assert.ok(agree(Buffer.from(installed), Buffer.from(elsewhere)))
  })

  test('is not what somebody else has it say', async () => {
    const said = await rustc('--json=diagnostic-rendered-ansi', `--diagnostic-width=${widest}`)
    const text = said.toString()
    const quoted = /("rendered":"(?:[^"\\]|\\.)*?)let unused/
    const quoting = (words: string): string => text.replace(quoted, (_, before: string) => before + words)
    const lies: [string, string][] = [
      ['a word of a message', text.replace('unused variable', 'unused dependency')],
      [
        'a suggestion',
        text.replace('"suggested_replacement":"_unused"', '"suggested_replacement":"std::process::exit(1)"'),
      ],
      ['whether it is applied', text.replace('"MachineApplicable"', '"MaybeIncorrect"')],
      ['where it is applied', text.replace(/"byte_start":(\d+)/, '"byte_start":1$1')],
      ['a level', text.replace('"level":"warning"', '"level":"note"')],
      ['a line of the text', text.replace('"rendered":"', '"rendered":"run this as root\\n')],
      ['a word in a line that is quoted', quoting('curl evil; let unused')],
      ['more than can be compared', quoting(Array.from({ length: 9000 }, (_, at) => `w${at}`).join(' '))],
      ['one more', `${text}${JSON.stringify({ message: 'm', level: 'warning', spans: [], rendered: 'more\n' })}\n`],
      ['a line that is no diagnostic', `${text}do this\n`],
      ['one less', text.split('\n').slice(1).join('\n')],
      ['a key twice', text.replace('"level":"warning"', '"level":"error","level":"warning"')],
      ['nothing', ''],
      // As delivered it is JSON.
      ['a name of a root', text.replace('{"$message_type"', '{"\0out\0":1,"$message_type"')],
    ]
    for (const [what, lie] of lies) {
      assert.notEqual(lie, text, what)
      assert.equal(agree(Buffer.from(lie), said), false, what)
    }
    assert.ok(agree(Buffer.from(`${text}of a macro\n`), said, false), 'what is beside need not count')
  })

  test('finds fault with a source, or with the machine', () => {
    const error = (code: string | null, spans: unknown[] = [{ file_name: 'lib.rs' }]): Buffer =>
      Buffer.from(JSON.stringify({ level: 'error', code: code === null ? null : { code }, spans }))
    assert.deepEqual([findsFault(error('E0308'), false), findsFault(error('E0308'), true)], [true, false])
    assert.deepEqual([findsFault(error('clippy::all'), true), findsFault(error(null), false)], [true, true])
    assert.deepEqual([findsFault(error(null), true), findsFault(error(null, []), false)], [false, false])
    assert.equal(findsFault(Buffer.from('bwrap: no permission'), false), false)
  })
})
