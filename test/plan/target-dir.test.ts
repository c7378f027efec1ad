import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { targetDirectory } from '../../src/plan/target-dir.ts'

let dir: string
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'shoal-target-')))
})
afterEach(() => rmSync(dir, { recursive: true }))

function put(path: string, text = ''): void {
  mkdirSync(dirname(join(dir, path)), { recursive: true })
  writeFileSync(join(dir, path), text)
}

const hasNewLayout =
  spawnSync('cargo', ['+nightly', '-Z', 'help'], { encoding: 'utf8' }).stdout?.includes('build-dir-new-layout') === true
const host = /^host: (.*)$/m.exec(execFileSync('rustc', ['-vV'], { encoding: 'utf8' }))?.[1] ?? ''

/** A package with a build script and a dependency; out-dirs and OUT_DIRs as rustc is given them. */
function build(toolchain: string, ...options: string[]): { outDirs: Set<string>; buildDirs: Set<string> } {
  put('Cargo.toml', '[workspace]\n[package]\nname = "top"\nedition = "2021"\n[dependencies]\nlow = { path = "low" }\n')
  put('src/lib.rs', '')
  put('build.rs', 'fn main() {}')
  put('low/Cargo.toml', '[package]\nname = "low"\nedition = "2021"\n')
  put('low/src/lib.rs', '')
  put('wrapper', '#!/bin/sh\nprintf "%s\\n" "$OUT_DIR" "$@" >> "$LOG"\nexec "$@"\n')
  execFileSync('chmod', ['+x', join(dir, 'wrapper')])
  const log = join(dir, 'log')
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    LOG: log,
    RUSTC_WRAPPER: join(dir, 'wrapper'),
    CARGO_INCREMENTAL: '0',
  }
  for (const name of ['CARGO_TARGET_DIR', 'CARGO_BUILD_TARGET_DIR', 'CARGO_BUILD_BUILD_DIR']) delete env[name]
  execFileSync('cargo', [toolchain, 'build', '--offline', '--quiet', ...options], { cwd: dir, env })
  const lines = execFileSync('cat', [log], { encoding: 'utf8' }).split('\n')
  const outDirs = new Set(lines.filter((_, at) => lines[at - 1] === '--out-dir'))
  const buildDirs = new Set(lines.filter((line) => line.startsWith('/') && line.endsWith('/out')))
  assert.ok(outDirs.size > 0 && buildDirs.size > 0, lines.join('\n'))
  return { outDirs, buildDirs }
}

describe('the directory that cargo builds into', () => {
  for (const [what, toolchain, layout] of [
    ['of today', '+stable', []],
    ['to come', '+nightly', ['-Z', 'build-dir-new-layout']],
  ] as const) {
    const skip = toolchain === '+nightly' && !hasNewLayout ? 'no nightly cargo with this layout' : false
    for (const [where, options, expected] of [
      ['in the workspace', [], 'target'],
      ['elsewhere, optimised', ['--target-dir', 'else where/x', '--release'], 'else where/x'],
      ['for a named target', ['--target', host], join('target', host)],
    ] as const) {
      test(`is found from every unit's out-dir in the layout ${what}: ${where}`, { skip }, () => {
        const { outDirs, buildDirs } = build(toolchain, ...layout, ...options)
        const found = [...outDirs, ...buildDirs].map(targetDirectory)
        const hostUnits = expected.endsWith(host) ? [join(dir, 'target')] : []
        assert.deepEqual(new Set(found), new Set([join(dir, expected), ...hostUnits]))
        if (layout.length > 0) assert.ok(outDirs.size > 1, 'in this layout every unit has an out-dir of its own')
      })
    }
  }

  test('is not guessed where no cargo is at work', () => {
    put('target/CACHEDIR.TAG')
    mkdirSync(join(dir, 'target/debug/deps'), { recursive: true })
    assert.equal(targetDirectory(join(dir, 'target/debug/deps')), undefined)
    assert.equal(targetDirectory('/'), undefined)
    assert.equal(targetDirectory(join(dir, 'none/deep')), undefined)
  })

  test('is not looked for without end', () => {
    put('target/debug/.cargo-lock')
    assert.equal(targetDirectory(join(dir, 'target/debug/1/2/3/4/5/6/7')), join(dir, 'target'))
    assert.equal(targetDirectory(join(dir, 'target/debug/1/2/3/4/5/6/7/8')), undefined)
  })
})
