import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { fitForTerminal } from '../../src/plan/terminal-text.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'

const run = promisify(execFile)
const diagnostic = (rendered: string, more: object = {}): string =>
  JSON.stringify({ $message_type: 'diagnostic', message: 'm', code: null, level: 'warning', rendered, ...more })
const renderedIn = (line: string): string => JSON.parse(fitForTerminal(line)).rendered

describe('what a terminal is shown', () => {
  test('is what rustc wrote, in colours or without, with odd characters in its source', async (t) => {
    const dir = await temporaryDirectory(t)
    const source = `pub fn f() {\n\tlet unused = "é \u001b[2J \u000c \u007f \\u{202e}";\r\n    let other\u000c= 1;\n}\n`
    await writeFile(join(dir, 'lib.rs'), source)
    for (const json of ['diagnostic-rendered-ansi', 'diagnostic-unicode', 'diagnostic-short', 'artifacts']) {
      const options = ['--crate-type', 'lib', '--emit', 'metadata', '--error-format=json', `--json=${json}`, 'lib.rs']
      const { stderr } = await run('rustc', options, { cwd: dir })
      const lines = stderr.split('\n').filter((line) => line.includes('unused variable'))
      assert.ok(lines.length >= 2, stderr)
      for (const line of lines) assert.equal(renderedIn(line), JSON.parse(line).rendered)
    }
  })

  test('has pictures for what it would obey, however JSON writes it', () => {
    assert.equal(
      renderedIn(diagnostic('a\u001b[2Jb\u001b]0;title\u0007c\rd\u009b5ne\u202ef')),
      'a␛[2Jb␛]0;title␇c␍d�5ne�f',
    )
    assert.equal(
      renderedIn(diagnostic('\u001b[8mhidden\u001b[0m \u001b[7m \u001b[48;5;1m')),
      '␛[8mhidden\u001b[0m ␛[7m ␛[48;5;1m',
    )
    const coloured = '\u001b[0m\u001b[1m\u001b[38;5;9merror\u001b[0m\u001b[1;33mx\u001b[m\n\t| \u001b[94m^\u001b[39m'
    assert.equal(renderedIn(diagnostic(coloured)), coloured)
    const written = diagnostic('\u001b[2J').replace('\\u001b', '\\u001B')
    assert.equal(renderedIn(written), '␛[2J')
    // `\M` deletes lines, `\m` colours them.
    assert.equal(renderedIn(diagnostic('\u001b[2M')), '␛[2M')
    const report = JSON.stringify({ future_incompat_report: [{ diagnostic: JSON.parse(diagnostic('\u001b[2J')) }] })
    assert.equal(JSON.parse(fitForTerminal(report)).future_incompat_report[0].diagnostic.rendered, '␛[2J')
  })

  test('has them in lines that are no JSON, or look like it, too', () => {
    assert.equal(
      fitForTerminal('plain \u001b[31mred\u001b[0m\ttab\nand \u001b[2J'),
      'plain \u001b[31mred\u001b[0m\ttab\nand ␛[2J',
    )
    assert.equal(fitForTerminal('{"rendered":"\u001b[2J"'), '{"rendered":"␛[2J"')
    assert.equal(fitForTerminal(`{"rendered":"a","rendered":"b\\u001b[2J\u009b"}`), '{"rendered":"b␛[2J�"}')
    assert.equal(fitForTerminal(`${'{"a":['.repeat(20_000)}\u001b[2J`).endsWith('␛[2J'), true)
  })

  test('keeps what is an escape of an escape', () => {
    const line = diagnostic('a path like C:\\u001b[2J\\r')
    assert.equal(fitForTerminal(line), line)
  })
})
