import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { buildObserver } from '../../src/shim/build.ts'
import { onlyWhereItRuns, type Ran, run, shown, Watch } from './observer/support.ts'
import { rustc } from './support.ts'

let watch: Watch

/** What a probe did itself: not what its start brought. */
const deeds = ({ events }: Ran): string[] =>
  events.filter(({ kind, path }) => kind !== 'load' && kind !== 'attach' && !path.startsWith('RUST_')).map(shown)

describe('what is noted of each function', onlyWhereItRuns, () => {
  before(async () => {
    watch = await Watch.make()
  })
  after(() => watch.remove())

  const O = { wronly: 1, rdwr: 2, creat: 0o100, excl: 0o200, trunc: 0o1000, append: 0o2000, path: 0o10000000 }
  const directory = process.arch === 'arm64' ? 0o40000 : 0o200000
  const number =
    process.arch === 'arm64' ? { openat: 56, statx: 291, mkdirat: 34 } : { openat: 257, statx: 332, mkdirat: 258 }

  /** `@` is a directory of its own with the file `file`, the directory `sub` and the link `link` to the file. */
  const cases: [call: (string | number)[], expected: string[]][] = [
    [['open', '@/file', 0], ['open 0 @/file']],
    [['open', 'file', 0], ['open 0 @/file']],
    [['open', './sub/../file', 0], ['open 0 @/./sub/../file']],
    [['open', '@/none', 0], ['open 2 @/none']],
    [['open', '@/file/none', 0], ['open 20 @/file/none']],
    [['open64', '@/new', O.wronly | O.creat | O.trunc], ['write 0 @/new']],
    [['open64', '@/new', O.rdwr | O.creat | O.excl], ['write 0 @/new']],
    [
      ['open64', '@/file', O.rdwr | O.creat | O.excl],
      ['write 17 @/file', 'stat 0 @/file'],
    ],
    [
      ['open64', '@/file', O.rdwr],
      ['open 0 @/file', 'write 0 @/file'],
    ],
    [
      ['open64', '@/file', O.rdwr | O.creat],
      ['open 0 @/file', 'write 0 @/file'],
    ],
    [
      ['open64', '@/new', O.rdwr | O.creat],
      ['open 2 @/new', 'write 0 @/new'],
    ],
    [['open64', '@/file', O.wronly | O.append], ['write 0 @/file']],
    [['open64', '@/file', O.path], ['stat 0 @/file']],
    [['open64', '@/sub', directory], ['list 0 @/sub']],
    [
      ['openat', '@', 'file', 0],
      ['list 0 @', 'open 0 @/file'],
    ],
    [
      ['openat', '@', '@/file', 0],
      ['list 0 @', 'open 0 @/file'],
    ],
    [['creat', '@/new'], ['write 0 @/new']],
    [['fopen', '@/file', 'r'], ['open 0 @/file']],
    [
      ['fopen', '@/file', 'r+'],
      ['open 0 @/file', 'write 0 @/file'],
    ],
    [['fopen', '@/file', 'w'], ['write 0 @/file']],
    [
      ['fopen', '@/new', 'a+'],
      ['open 2 @/new', 'write 0 @/new'],
    ],
    [['freopen', '@/none', 'r'], ['open 2 @/none']],
    [['stat', '@/file'], ['stat 0 @/file']],
    [['stat', '@/none'], ['stat 2 @/none']],
    [['lstat64', '@/link'], ['stat 0 @/link']],
    [['fstatat', 'file'], ['stat 0 @/file']],
    [['statx', '@/none'], ['stat 2 @/none']],
    [['access', '@/file'], ['stat 0 @/file']],
    [['faccessat', 'none'], ['stat 2 @/none']],
    [['readlink', '@/link'], ['link 0 @/link']],
    [['readlink', '@/file'], ['link 22 @/file']],
    [['realpath', '@/file'], ['stat 0 @/file']],
    [
      ['realpath', '@/far/file'],
      ['stat 0 @/far/file', 'link 0 @/far', 'link 0 @/near'],
    ],
    [['realpath', '@/none'], ['stat 2 @/none']],
    [['opendir', '@/sub'], ['list 0 @/sub']],
    [['opendir', '@/none'], ['list 2 @/none']],
    [
      ['fdopendir', '@/sub'],
      ['open 0 @/sub', 'list 0 @/sub'],
    ],
    [['scandir', 'sub'], ['list 0 @/sub']],
    [['glob', '@/sub/*.c'], ['list 0 @/sub/']],
    [['glob', '@/file'], ['stat 0 @/file']],
    [['mkdir', '@/new'], ['write 0 @/new']],
    [
      ['mkdir', '@/sub'],
      ['write 17 @/sub', 'stat 0 @/sub'],
    ],
    [['rmdir', '@/sub'], ['write 0 @/sub']],
    [
      ['unlink', '@/none'],
      ['write 2 @/none', 'stat 2 @/none'],
    ],
    [
      ['rename', '@/file', '@/new'],
      ['open 0 @/file', 'write 0 @/new', 'write 0 @/file'],
    ],
    [
      ['link', '@/file', '@/new'],
      ['open 0 @/file', 'write 0 @/new'],
    ],
    [['symlink', 'anything', '@/new'], ['write 0 @/new']],
    [['truncate', '@/file'], ['write 0 @/file']],
    [['chmod', '@/file'], ['write 0 @/file']],
    [['utimes', '@/file'], ['write 0 @/file']],
    [['getenv', 'PATH'], ['env 0 PATH']],
    [['getenv', 'NOBODY_SETS_THIS'], ['env 2 NOBODY_SETS_THIS']],
    [['secure_getenv', 'PATH'], ['env 0 PATH']],
    [['setlocale', 'C'], []],
    [['getpwuid'], ['open 0 /etc/passwd', 'open 0 /etc/nsswitch.conf']],
    [['socket', 2], ['net 0 inet']],
    [['socket', 1], []],
    [['connect', '@/none'], ['net 0 @/none']],
    [['bind', '@/new'], ['write 0 @/new']],
    [['bind', 'new'], ['write 0 @/new']],
    [['bind', '@/file'], ['stat 0 @/file']],
    [['bind', '@/none/new'], ['stat 2 @/none/new']],
    [['bind', '=shoal-probe'], ['net 0 shoal-probe']],
    [['sendto', '@/none'], ['net 0 @/none']],
    [['sendmsg', '@/none'], ['net 0 @/none']],
    [['getifaddrs'], ['net 0 network']],
    [['setmntent', '@/file', 'r'], ['open 0 @/file']],
    [['setmntent', '@/none', 'r'], ['open 2 @/none']],
    [['getgrgid'], ['open 0 /etc/group', 'open 0 /etc/nsswitch.conf']],
    [
      ['getservbyname', 'nothing'],
      [`open ${existsSync('/etc/services') ? 0 : 2} /etc/services`, 'open 0 /etc/nsswitch.conf'],
    ],
    [['localtime'], []],
    [['syscall', number.openat, '@/file', 0], ['open 0 @/file']],
    [['syscall', number.mkdirat, '@/new', 0o755], ['write 0 @/new']],
    [['syscall', number.statx, '@/none', 0, ''], ['stat 2 @/none']],
    [['chdir', '@/sub', '../file'], ['open 0 @/sub/../file']],
    [['fork', '@/file'], ['open 0 @/file']],
    [['fault'], []],
  ]

  for (const [call, expected] of cases) {
    test(call.join(' '), async () => {
      const at = await makePlace()
      const args = call.map((word) => String(word).replace('@', at))
      const ran = await watch.observe(watch.probe, args, { cwd: at })
      const lines = expected.map((line) => line.replaceAll('@', at))
      assert.deepEqual(deeds(ran), lines)
      assert.equal(ran.complete, true)

      const other = await makePlace()
      const otherArgs = call.map((word) => String(word).replace('@', other))
      const plain = run(watch.probe, otherArgs, { cwd: other })
      assert.deepEqual(plain, { code: ran.code, signal: ran.signal, stdout: ran.stdout, stderr: ran.stderr })
    })
  }
})

describe('buildObserver()', onlyWhereItRuns, () => {
  before(async () => {
    watch = await Watch.make()
  })
  after(() => watch.remove())

  test('compiles once, something small that cannot panic', async () => {
    const outDir = dirname(watch.library)
    const again = await buildObserver({ rustc, outDir })
    assert.ok(again)
    assert.deepEqual([again.path, again.built], [watch.library, false])
    assert.deepEqual((await readdir(outDir)).sort(), ['libshoal-observer.so', 'libshoal-observer.so.json'])
    const bytes = await readFile(watch.library)
    assert.ok(bytes.length < 130_000)
    // A panic would name the source that it is in.
    assert.doesNotMatch(bytes.toString('latin1'), /\w\.rs\b/)

    await writeFile(watch.library, bytes.subarray(0, 1000))
    assert.equal((await buildObserver({ rustc, outDir }))?.built, true)
    assert.deepEqual(await readFile(watch.library), bytes)
  })

  test('is not for other systems and processors', async () => {
    for (const [os, arch] of [
      ['darwin', 'arm64'],
      ['linux', 'riscv64'],
      ['linux', 'ia32'],
    ] as const) {
      const outDir = join(watch.dir, 'none')
      assert.equal(await buildObserver({ rustc, outDir, platform: { os, arch } }), undefined)
    }
  })

  test('says so when it cannot be compiled, or changes what rustc says', async () => {
    const at = await watch.empty()
    const outDir = join(at, 'out')
    await assert.rejects(buildObserver({ rustc: join(at, 'none'), outDir }), { code: 'ERR_SHIM_BUILD' })
    const notices = join(at, 'notices')
    await writeFile(notices, `#!/bin/sh\n[ -z "$LD_PRELOAD" ] || echo preloaded\nexec '${rustc}' "$@"\n`, {
      mode: 0o755,
    })
    const escapes = join(at, 'escapes')
    await writeFile(escapes, `#!/bin/sh\nunset LD_PRELOAD; exec '${rustc}' "$@"\n`, { mode: 0o755 })
    for (const compiler of [notices, escapes]) {
      const failure = { code: 'ERR_SHIM_BUILD', message: /does not work with/ }
      await assert.rejects(buildObserver({ rustc: compiler, outDir }), failure)
      assert.deepEqual(await readdir(outDir), [])
    }
  })
})

/** A file, a directory, and links. */
async function makePlace(): Promise<string> {
  const at = await watch.empty()
  await writeFile(join(at, 'file'), 'text')
  await mkdir(join(at, 'sub'))
  await symlink('file', join(at, 'link'))
  await symlink('near', join(at, 'far'))
  await symlink('.', join(at, 'near'))
  return at
}
