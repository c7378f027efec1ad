import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { Executor, type ExecutorInit } from '../../src/execute/executor.ts'
import { Lender } from './support.ts'

const lender = new Lender()
await lender.start()
const scratch = mkdtempSync(join(tmpdir(), 'shoal-executor-'))
after(async () => {
  await lender.stop()
  rmSync(scratch, { recursive: true, force: true })
})
const skip = lender.executor.tier === 'none' ? `no sandbox here: ${lender.executor.reason}` : false

let count = 0
async function executor(path: string, init: Partial<ExecutorInit> = {}): Promise<Executor> {
  const needs = { blocks: lender.store, clock: systemClock, log: silentLogger, env: { PATH: path } }
  const made = new Executor(needs, { workDir: join(scratch, `work-${count++}`), processors: 1, ...init })
  await made.start()
  return made
}

/** A directory for `PATH` with a bubblewrap of ours. */
function tools(bubblewrap: string): string {
  const dir = mkdtempSync(join(scratch, 'bin-'))
  writeFileSync(join(dir, 'bwrap'), bubblewrap, { mode: 0o755 })
  return dir
}

test('the tier and its reason are found by trying', { skip }, () => {
  assert.match(lender.executor.tier, /^(watched|confined)$/)
  if (lender.executor.tier === 'watched') assert.match(lender.executor.reason, /control group/)
})

test('without bubblewrap, or with one that is too old or broken, nothing is lent', async () => {
  const empty = mkdtempSync(join(scratch, 'bin-'))
  for (const [path, reason] of [
    [empty, /not installed/],
    [tools('#!/bin/sh\necho bubblewrap 0.6.1\n'), /0\.6 is too old/],
    [tools('#!/bin/sh\necho what\n'), /too old/],
    [tools('#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.8.0 && exit\nexit 1\n'), /cannot be used/],
    [tools('#!/bin/sh\nexit 3\n'), /cannot be used/],
  ] as const) {
    const made = await executor(path)
    assert.equal(made.tier, 'none')
    assert.match(made.reason, reason)
  }
})

test('a bubblewrap that isolates nothing is found out', async () => {
  // What the guest is to run stands in what it starts as, or in the arguments.
  const program = join(scratch, 'isolates-nothing.ts')
  writeFileSync(
    program,
    `import { readFileSync, writeSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
const words = process.argv.includes('/shoal-entry') ? readFileSync(6, 'utf8').split('\\0') : process.argv
const at = words.indexOf('/canary/node')
writeSync(3, \`{ "child-pid": \${process.pid} }\\n\`)
const { status } = spawnSync(process.execPath, words.slice(at + 1, at + 3), { stdio: ['ignore', 1, 2] })
writeSync(3, \`{ "exit-code": \${status} }\\n\`)
`,
  )
  const fake = `#!/bin/sh
[ "$1" = --version ] && echo bubblewrap 0.8.0 && exit
exec '${process.execPath}' '${program}' "$@"
`
  const made = await executor(tools(fake))
  assert.equal(made.tier, 'none')
  for (const leak of [
    'read-outside',
    'write-outside',
    'connect-tcp',
    'connect-unix',
    'fork',
    'changed a file outside',
  ]) {
    assert.ok(made.reason.includes(leak), `${leak}: ${made.reason}`)
  }
})

test('namespaces that were to be made ahead and were not are found out, and made by bubblewrap', {
  skip: skip || (process.getuid?.() !== 0 && 'only root makes them ahead'),
}, async () => {
  const dir = mkdtempSync(join(scratch, 'bin-'))
  symlinkSync('/usr/bin/bwrap', join(dir, 'bwrap'))
  const asked = join(dir, 'asked')
  writeFileSync(join(dir, 'unshare'), `#!/bin/sh\necho "$@" >> ${asked}\nshift 3\nexec "$@"\n`, { mode: 0o755 })
  const made = await executor(dir)
  assert.notEqual(made.tier, 'none', made.reason)
  const before = readFileSync(asked, 'utf8')
  assert.match(before, /^--net --ipc -- \S+bwrap /)
  await made.prepare(lender.toolchain)
  assert.equal(readFileSync(asked, 'utf8'), before, 'it is not used any more')
  const broken = join(dir, 'unshare')
  writeFileSync(broken, '#!/bin/sh\nexit 1\n')
  await made.probe()
  assert.notEqual(made.tier, 'none', made.reason)
  await made.stop()
})

test('other systems and processors lend nothing', async () => {
  assert.match((await executor('/usr/bin', { platform: 'freebsd' })).reason, /freebsd/)
  assert.match((await executor('/usr/bin', { arch: 'riscv64' })).reason, /processor/)
})

test('prlimit is not needed', { skip }, async () => {
  const dir = mkdtempSync(join(scratch, 'bin-'))
  symlinkSync('/usr/bin/bwrap', join(dir, 'bwrap'))
  const made = await executor(dir)
  assert.notEqual(made.tier, 'none', made.reason)
  await made.prepare(lender.toolchain)
})

test('run() refuses before it starts anything', async () => {
  const { action, inputs } = await lender.prepare({ crate: 'a', files: { 'src/lib.rs': '' } })
  const options = {
    inputs,
    toolchain: lender.toolchain,
    signal: new AbortController().signal,
    onRmeta: () => undefined,
  }
  const none = await executor('/nowhere')
  await assert.rejects(none.run({ ...options, action }), { code: 'ERR_SANDBOX' })
  await assert.rejects(none.prepare(lender.toolchain), { code: 'ERR_SANDBOX' })
  if (skip) return
  await assert.rejects(lender.executor.run({ ...options, action: { ...action, toolchain: 'f'.repeat(64) } }), {
    code: 'ERR_TOOLCHAIN',
  })
  await assert.rejects(lender.executor.run({ ...options, action: { ...action, argv: [...action.argv, '-Zx'] } }), {
    code: 'ERR_ADMISSION',
  })
  const aborted = { ...options, action, signal: AbortSignal.abort(new Error('gone')) }
  await assert.rejects(lender.executor.run(aborted), /gone/)
})

test('a toolchain that was updated since it was identified runs nothing', { skip }, async () => {
  const { action, inputs } = await lender.prepare({ crate: 'b', files: { 'src/lib.rs': '' } })
  const toolchain = { ...lender.toolchain, stamp: `${lender.toolchain.stamp}0` }
  const options = { action, inputs, signal: new AbortController().signal, onRmeta: () => undefined }
  await assert.rejects(lender.executor.run({ ...options, toolchain }), { code: 'ERR_TOOLCHAIN' })
  assert.equal((await lender.executor.run({ ...options, toolchain: lender.toolchain })).kind, 'ok')
})

test('prepare() tells that a toolchain does not run inside', { skip }, async () => {
  const sysroot = join(scratch, 'toolchain')
  mkdirSync(join(sysroot, 'bin'), { recursive: true })
  mkdirSync(join(sysroot, `lib/rustlib/${lender.toolchain.host}/lib`), { recursive: true })
  symlinkSync(process.execPath, join(sysroot, 'bin/rustc'))
  await assert.rejects(lender.executor.prepare({ ...lender.toolchain, digest: 'e'.repeat(64), sysroot, files: [] }), {
    code: 'ERR_TOOLCHAIN',
  })
})

test('prepare() tells that a compiler says something else of itself than is said of it', { skip }, async () => {
  const right = { ...lender.toolchain, isFetched: true, digest: 'd'.repeat(64) }
  await lender.executor.prepare(right)
  for (const [at, wrong] of [
    { release: '9.9.9' },
    { commitHash: undefined },
    { commitHash: 'f'.repeat(40) },
  ].entries()) {
    const toolchain = { ...right, digest: `${at}`.repeat(64), ...wrong }
    await assert.rejects(lender.executor.prepare(toolchain), { code: 'ERR_TOOLCHAIN' }, JSON.stringify(wrong))
  }
  await lender.executor.prepare({ ...right, digest: 'a'.repeat(64) })
  lender.executor.forget(right.digest)
  await lender.executor.prepare(right)
})
