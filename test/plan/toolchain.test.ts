import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { loadedLibraries, readDynamic } from '../../src/plan/elf.ts'
import { StatMemo } from '../../src/plan/stat-memo.ts'
import { isUnchanged, Toolchains } from '../../src/plan/toolchain.ts'

const sysroot = realpathSync(execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).trim())
const rustc = join(sysroot, 'bin/rustc')
const verbose = execFileSync(rustc, ['-vV'], { encoding: 'utf8' })
const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(verbose)?.[1] ?? ''
const host = field('host')

/** A clock that stands still until told. */
class StoppedClock {
  at = 0
  now = (): number => this.at
  wall = (): number => Date.now()
  after = (): (() => void) => () => undefined
}

let scratch: string
before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'shoal-toolchain-'))
})
after(() => rmSync(scratch, { recursive: true, force: true }))

/** Everything was written long ago, so that it may be remembered. */
const later = (): number => Date.now() + 3_600_000
const memoFile = (name: string): string => join(scratch, name, 'toolchains.json')
async function toolchains(name: string, clock = new StoppedClock()): Promise<Toolchains> {
  return new Toolchains({ memo: await StatMemo.open(memoFile(name), later), clock })
}

/** A toolchain of a few files whose rustc answers `-vV`, old enough to be remembered. */
function smallToolchain(name: string, content = 'x'): string {
  const at = join(scratch, name)
  const put = (path: string, text: string): void => {
    mkdirSync(dirname(join(at, path)), { recursive: true })
    writeFileSync(join(at, path), text)
    utimesSync(join(at, path), 1000, 1000)
  }
  put(
    'bin/rustc',
    `#!/bin/sh\necho run >> "${at}/runs"\nprintf 'release: 9.9.9\\nhost: any-host\\ncommit-hash: unknown\\n'\n`,
  )
  chmodSync(join(at, 'bin/rustc'), 0o755)
  put('lib/librustc_driver-1.so', content)
  put('lib/rustlib/any-host/lib/libcore.rlib', 'core')
  put('lib/rustlib/any-host/lib/self-contained/crt1.o', 'crt')
  put('lib/rustlib/other/lib/libcore.rlib', 'other core')
  put('lib/rustlib/src/rust/library/core/src/lib.rs', '')
  put('share/doc/readme', 'text')
  return at
}
const runsOf = (at: string): number => readFileSync(join(at, 'runs'), 'utf8').split('\n').length - 1

test('identify() names the installed toolchain by what a compile loads', async () => {
  const toolchain = await (await toolchains('real')).identify(sysroot)
  assert.match(toolchain.digest, /^[0-9a-f]{64}$/)
  assert.equal(toolchain.host, host)
  assert.equal(toolchain.target, host)
  assert.equal(toolchain.release, field('release'))
  assert.equal(toolchain.commitHash, field('commit-hash'))
  const paths = toolchain.files.map((file) => file.path)
  assert.ok(paths.includes('bin/rustc'))
  assert.ok(paths.some((path) => path.startsWith('lib/librustc_driver')))
  assert.ok(paths.some((path) => path.startsWith(`lib/rustlib/${host}/lib/libcore-`)))
  assert.ok(!paths.some((path) => path.includes('cargo') || path.startsWith('share') || path.includes('rustlib/src')))
  assert.deepEqual(paths, [...paths].sort())
})

test('a second start takes every digest from the memo', async () => {
  const first = await (await toolchains('twice')).identify(sysroot)
  const kept = JSON.parse(readFileSync(memoFile('twice'), 'utf8'))
  // A digest that no content has: it can only come from the memo.
  kept.files[rustc][1] = '0'.repeat(64)
  writeFileSync(memoFile('twice'), JSON.stringify(kept))
  const second = await (await toolchains('twice')).identify(sysroot)
  assert.equal(second.files.find((file) => file.path === 'bin/rustc')?.sha256, '0'.repeat(64))
  assert.notEqual(second.digest, first.digest)
})

test('a damaged memo is computed again', async () => {
  const first = await (await toolchains('damaged')).identify(smallToolchain('damaged-tc'))
  for (const text of ['', '{"v":2}', '{"v":1,"files":{"a":["s","not hex"]},"notes":{}}']) {
    writeFileSync(memoFile('damaged'), text)
    assert.equal((await (await toolchains('damaged')).identify(join(scratch, 'damaged-tc'))).digest, first.digest)
  }
})

test('equal content under two directories has one digest, and rustc is asked once for both', async () => {
  const [one, two] = [smallToolchain('one'), join(scratch, 'two')]
  cpSync(one, two, { recursive: true })
  const all = await toolchains('same')
  assert.equal((await all.identify(one)).digest, (await all.identify(two)).digest)
  assert.equal(runsOf(one) + (readdirSync(two).includes('runs') ? runsOf(two) : 0), 1)
})

test('other content in a file of the same size and time is another toolchain', async () => {
  const clock = new StoppedClock()
  const at = smallToolchain('changed', 'x')
  const all = await toolchains('changed-memo', clock)
  const first = await all.identify(at)
  writeFileSync(join(at, 'lib/librustc_driver-1.so'), 'y')
  utimesSync(join(at, 'lib/librustc_driver-1.so'), 1000, 1000)
  clock.at += 2000
  assert.equal(isUnchanged(first), false)
  const second = await all.identify(at)
  assert.notEqual(second.digest, first.digest)
  assert.equal(isUnchanged(second), true)
  rmSync(join(at, 'lib/rustlib/any-host/lib/libcore.rlib'))
  assert.equal(isUnchanged(second), false)
})

test('a file that was just written is not remembered', async () => {
  const file = join(scratch, 'fresh')
  writeFileSync(file, 'a')
  const memo = await StatMemo.open(memoFile('fresh-memo'), () => Date.now())
  await memo.content(file)
  await memo.save()
  assert.deepEqual(
    readdirSync(scratch).filter((name) => name === 'fresh-memo'),
    [],
  )
})

test('docs and other targets do not count; the wanted target does, and whether the sources are there', async () => {
  const at = smallToolchain('targets')
  const all = await toolchains('targets-memo')
  const plain = await all.identify(at)
  assert.equal(plain.hasSource, true)
  assert.equal(plain.commitHash, undefined)
  assert.ok(plain.files.some((file) => file.path.endsWith('self-contained/crt1.o')))
  const cross = await all.identify(at, 'other')
  assert.notEqual(cross.digest, plain.digest)
  assert.ok(cross.files.some((file) => file.path === 'lib/rustlib/any-host/lib/libcore.rlib'))
  rmSync(join(at, 'share'), { recursive: true })
  rmSync(join(at, 'lib/rustlib/other'), { recursive: true })
  const smaller = await (await toolchains('targets-memo')).identify(at)
  assert.equal(smaller.digest, plain.digest)
  rmSync(join(at, 'lib/rustlib/src'), { recursive: true })
  const bare = await (await toolchains('targets-memo')).identify(at)
  assert.notEqual(bare.digest, plain.digest)
  assert.equal(bare.hasSource, false)
})

test('a target without any library of its own is another toolchain, until it has one', async () => {
  const at = smallToolchain('lacking')
  const clock = new StoppedClock()
  const all = await toolchains('lacking-memo', clock)
  const [plain, cross] = [await all.identify(at), await all.identify(at, 'nowhere')]
  assert.notEqual(cross.digest, plain.digest)
  assert.notEqual(cross.digest, (await all.identify(at, 'elsewhere')).digest)
  assert.deepEqual(cross.files, plain.files)
  assert.equal(isUnchanged(cross), true)
  const lib = join(at, 'lib/rustlib/nowhere/lib')
  mkdirSync(dirname(lib))
  assert.equal(isUnchanged(cross), false)
  clock.at += 2000
  // Half installed.
  await assert.rejects(all.identify(at, 'nowhere'), { code: 'ERR_TOOLCHAIN' })
  mkdirSync(lib)
  writeFileSync(join(lib, 'libcore.rlib'), 'core')
  assert.notEqual((await all.identify(at, 'nowhere')).digest, cross.digest)
  rmSync(join(at, 'lib/rustlib/any-host'), { recursive: true })
  await assert.rejects((await toolchains('lacking-memo')).identify(at), { code: 'ERR_TOOLCHAIN' })
})

test('list() finds each directory once and leaves broken ones out', async () => {
  const home = join(scratch, 'rustup')
  mkdirSync(join(home, 'toolchains/broken/bin'), { recursive: true })
  const at = smallToolchain('rustup/toolchains/good')
  symlinkSync(at, join(home, 'toolchains/alias'))
  symlinkSync(join(scratch, 'nowhere'), join(home, 'toolchains/dangling'))
  const extra = smallToolchain('extra', 'another')
  const found = await (await toolchains('list')).list(home, [extra, join(scratch, 'absent')])
  assert.deepEqual(found.map((toolchain) => [toolchain.sysroot, toolchain.target]).sort(), [
    [extra, 'any-host'],
    [extra, 'other'],
    [at, 'any-host'],
    [at, 'other'],
  ])
  assert.deepEqual(await (await toolchains('list')).list(join(scratch, 'no-home')), [])
})

test('resolve() reads a toolchain binary without running it', async () => {
  const at = smallToolchain('direct')
  const all = await toolchains('direct-memo')
  assert.deepEqual(await all.resolve(join(at, 'bin/rustc'), {}, '/'), { sysroot: at, host: 'any-host' })
  assert.deepEqual(await all.resolve('rustc', { PATH: `/nowhere:${at}/bin` }, '/'), { sysroot: at, host: 'any-host' })
  assert.deepEqual(await all.resolve('bin/rustc', {}, at), { sysroot: at, host: 'any-host' })
  await assert.rejects(all.resolve('rustc', { PATH: '/nowhere' }, '/'), { code: 'ERR_TOOLCHAIN' })
})

test('resolve() follows rustup proxies by RUSTUP_TOOLCHAIN, symbolic and hard links alike', async () => {
  const home = join(scratch, 'proxies')
  const at = smallToolchain('proxies/toolchains/mine')
  mkdirSync(join(home, 'bin'))
  writeFileSync(join(home, 'bin/rustup'), '#!/bin/sh\nexit 9\n', { mode: 0o755 })
  symlinkSync('rustup', join(home, 'bin/rustc'))
  mkdirSync(join(home, 'old'))
  copyFileSync(join(home, 'bin/rustup'), join(home, 'old/rustup'))
  linkSync(join(home, 'old/rustup'), join(home, 'old/rustc'))
  const all = await toolchains('proxies-memo')
  for (const proxy of ['bin/rustc', 'old/rustc']) {
    const env = { RUSTUP_HOME: home, RUSTUP_TOOLCHAIN: 'mine' }
    assert.equal((await all.resolve(join(home, proxy), env, '/')).sysroot, at)
    assert.equal((await all.resolve(join(home, proxy), { RUSTUP_TOOLCHAIN: at }, '/')).sysroot, at)
    await assert.rejects(all.resolve(join(home, proxy), { ...env, RUSTUP_TOOLCHAIN: 'absent' }, '/'), {
      code: 'ERR_TOOLCHAIN',
    })
  }
})

test('resolve() asks a proxy once per set of overrides, and again when one changes', async () => {
  const home = join(scratch, 'asking')
  const [first, second] = [smallToolchain('asking/a'), smallToolchain('asking/b', 'b')]
  mkdirSync(join(home, 'bin'))
  mkdirSync(join(home, 'project/inner'), { recursive: true })
  const proxy = `#!/bin/sh\necho run >> ${home}/runs\nif [ -f ${home}/project/rust-toolchain ]; then echo ${second}; else echo ${first}; fi\n`
  writeFileSync(join(home, 'bin/rustup'), proxy, { mode: 0o755 })
  symlinkSync('rustup', join(home, 'bin/rustc'))
  const all = await toolchains('asking-memo')
  const resolve = async (): Promise<string> =>
    (await all.resolve(join(home, 'bin/rustc'), { RUSTUP_HOME: home }, join(home, 'project/inner'))).sysroot
  assert.deepEqual([await resolve(), await resolve()], [first, first])
  assert.equal(runsOf(home), 1)
  writeFileSync(join(home, 'project/rust-toolchain'), 'b')
  assert.equal(await resolve(), second)
  assert.equal(runsOf(home), 2)
})

test('resolve() refuses a script around rustc', async () => {
  const script = join(scratch, 'wrapper')
  writeFileSync(script, `#!/bin/sh\nexec ${rustc} "$@"\n`, { mode: 0o755 })
  await assert.rejects((await toolchains('wrapper-memo')).resolve(script, {}, '/'), { code: 'ERR_TOOLCHAIN' })
})

test('loadedLibraries() agrees with ldd', { skip: process.platform !== 'linux' }, async () => {
  const listed = execFileSync('ldd', [rustc], { encoding: 'utf8' })
  const expected = [...listed.matchAll(/^\s*(\S+) => (\S+) \(/gm)].map((match) => [
    match[1],
    realpathSync(match[2] ?? ''),
  ])
  const { libraries, interpreter } = await loadedLibraries(rustc)
  const found = libraries.map((library) => [library.name, realpathSync(library.path)])
  assert.deepEqual(found.sort(), expected.sort())
  assert.ok(listed.includes(interpreter))
})

test('readDynamic() survives any damaged header', async () => {
  const whole = readFileSync(process.execPath).subarray(0, 4096)
  const file = join(scratch, 'damaged.elf')
  for (let seed = 0; seed < 400; seed++) {
    const bytes = Buffer.from(whole)
    for (let i = 0; i < 8; i++) bytes[(seed * 7919 + i * 104729) % 1024] = (seed * 31 + i * 17) & 0xff
    writeFileSync(file, bytes.subarray(0, seed % 5 === 0 ? seed : bytes.length))
    await readDynamic(file).catch((error: { code?: string }) => assert.equal(error.code, 'ERR_DECODE'))
  }
  writeFileSync(file, 'INPUT(-lLLVM)')
  assert.equal(await readDynamic(file), undefined)
})
