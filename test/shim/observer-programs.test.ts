import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, copyFile, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { observationBytes, readObservations } from '../../src/plan/observation.ts'
import { onlyWhereItRuns, run, shown, Watch } from './observer/support.ts'
import { rustc } from './support.ts'

let watch: Watch

describe('programs that are started', onlyWhereItRuns, () => {
  before(async () => {
    watch = await Watch.make()
  })
  after(() => watch.remove())

  test('a program with a function of its own that is called like one of libm gets what it passes', async () => {
    const at = await watch.empty()
    await writeFile(
      join(at, 'own.c'),
      `#include <stdarg.h>
#include <stdio.h>
int log(int level, const char *format, ...) {
    va_list rest; va_start(rest, format); printf("%d ", level); vprintf(format, rest); va_end(rest); return puts("");
}`,
    )
    await writeFile(
      join(at, 'main.c'),
      `int log(int level, const char *format, ...); double pow(double, double);
#include <stdio.h>
int main(int count, char **words) { log(3, "%s %g %d %g", "fish", 1.5 * count, 7, 2.5); printf("%.17g", pow(2.5, 0.7 + count)); }`,
    )
    const cc = (...args: string[]): unknown => execFileSync('cc', ['-w', '-fno-builtin', ...args], { cwd: at })
    cc('-shared', '-fPIC', '-o', 'libown.so', 'own.c')
    cc('-o', 'main', 'main.c', '-L.', '-lown', '-lm', `-Wl,-rpath,${at}`)
    const plain = run(join(at, 'main'), [])
    assert.match(plain.stdout, /^3 fish 1\.5 7 2\.5\n4\.74/)
    for (const options of [{}, { script: 1 << 16 }])
      assert.equal((await watch.observe(join(at, 'main'), [], options)).stdout, plain.stdout)
  })

  /** How to start the probe, with the words that make it open a file, from another probe. */
  const ways: ((probe: string, file: string) => string[])[] = [
    (probe, file) => ['execv', probe, 'open', file, '0'],
    (probe, file) => ['execvp', probe, 'open', file, '0'],
    (probe, file) => ['posix_spawn', probe, 'open', file, '0'],
    (probe, file) => ['posix_spawnp', probe, 'open', file, '0'],
    (probe, file) => ['system', `'${probe}' open '${file}' 0`],
    (probe, file) => ['popen', `'${probe}' open '${file}' 0`],
  ]
  for (const way of ways) {
    test(`${way('', '')[0]} of a program`, async () => {
      const file = join(await watch.empty(), 'file')
      await writeFile(file, '')
      const ran = await watch.observe(watch.probe, way(watch.probe, file))
      assert.equal(ran.complete, true)
      const lines = ran.events.map(shown)
      assert.ok(lines.includes(`open 0 ${file}`))
      const shell = /system|popen/.test(way('', '')[0] ?? '')
      assert.ok(lines.includes(`exec 0 ${shell ? '/bin/sh' : watch.probe}`))
      assert.ok(lines.includes(`attach 0 ${watch.probe}`))
    })
  }

  for (const how of ['execl', 'execle', 'execlp', 'fexecve']) {
    test(`${how} of a program`, async () => {
      const ran = await watch.observe(watch.probe, [how, '/bin/cat', '/nonexistent/file'])
      assert.equal(ran.complete, true)
      if (how !== 'fexecve') assert.ok(ran.events.map(shown).includes('open 2 /nonexistent/file'))
      assert.ok(ran.events.some(({ kind, path }) => kind === 'attach' && path.endsWith('/cat')))
    })
  }

  test('a name is looked up along PATH, and one that is nowhere is noted as absent', async () => {
    const at = await watch.empty()
    await copyFile(watch.probe, join(at, 'found'))
    const env = { PATH: `/nonexistent:${at}` }
    for (const how of ['execvp', 'posix_spawnp']) {
      const found = await watch.observe(watch.probe, [how, 'found', 'stat', '/'], { env })
      assert.equal(found.complete, true)
      assert.ok(found.events.map(shown).includes('exec 0 found'))
      assert.ok(found.events.map(shown).includes(`attach 0 ${at}/found`))
      const missing = await watch.observe(watch.probe, [how, 'missing'], { env })
      assert.equal(missing.complete, true)
      assert.deepEqual(missing.events.filter(({ kind }) => kind === 'exec').map(shown), ['exec 2 missing'])
    }
  })

  test('a script is read by its interpreter', async () => {
    const at = await watch.empty()
    const script = join(at, 'script')
    await writeFile(join(at, 'file'), 'text\n')
    await writeFile(script, `#!/bin/sh -e\nread line < '${at}/file'; echo "$line"\n`, { mode: 0o755 })
    const ran = await watch.observe(watch.probe, ['posix_spawn', script])
    assert.match(ran.stdout, /^text\n/)
    assert.equal(ran.complete, true)
    for (const line of [`exec 0 ${script}`, `open 0 ${script}`, `open 0 ${at}/file`])
      assert.ok(ran.events.map(shown).includes(line))
  })

  test('a program that is started without the variables is missed', async () => {
    assert.equal((await watch.observe('/bin/sh', ['-c', 'env -i /bin/true'])).complete, false)
    assert.equal((await watch.observe('/bin/sh', ['-c', 'LD_PRELOAD= /bin/true'])).complete, false)
    assert.equal((await watch.observe('/bin/sh', ['-c', 'SHOAL_OBSERVE=/elsewhere /bin/true'])).complete, false)
    assert.equal((await watch.observe('/bin/sh', ['-c', 'ANYTHING= /bin/true'])).complete, true)
    assert.equal((await watch.observe(watch.probe, ['execve-alone', '/bin/true'])).complete, false)
  })

  test('a program that cannot attach is missed', async () => {
    const file = await watch.newFile()
    const script = 'mv "$SHOAL_OBSERVE" "$SHOAL_OBSERVE-moved"; exec /bin/true'
    assert.equal(run('/bin/sh', ['-c', script], { env: watch.env(file) }).code, 0)
    const { attached, complete, events } = readObservations(`${file}-moved`)
    assert.deepEqual([attached, complete], [true, false])
    assert.equal(events.filter(({ kind }) => kind === 'attach').length, 2)
  })

  test('a static program is missed, and runs as without', async () => {
    const at = await watch.empty()
    const program = join(at, 'static')
    await writeFile(join(at, 'main.rs'), 'fn main() { println!("{:?}", std::env::var("LD_PRELOAD").is_ok()) }')
    execFileSync(rustc, ['-C', 'target-feature=+crt-static', join(at, 'main.rs'), '-o', program], { cwd: at })
    const ran = await watch.observe(watch.probe, ['posix_spawn', program])
    assert.deepEqual([ran.attached, ran.complete, ran.stdout, ran.stderr], [true, false, 'true\n0 0\n', ''])
  })

  test('a program with another loader does not get to see the library, and keeps what else is preloaded', async () => {
    const at = await watch.empty()
    const bytes = await readFile('/usr/bin/env')
    const interpreter = /\/[\w/.-]*ld-linux[\w.-]*\.so\.\d/.exec(bytes.toString('latin1'))?.[0] ?? ''
    const other = '/tmp/.shoal-ld'
    await copyFile(interpreter, other)
    try {
      bytes.write(`${other}\0`, bytes.indexOf(interpreter), 'latin1')
      const foreign = join(at, 'foreign')
      await writeFile(foreign, bytes, { mode: 0o755 })
      for (const how of ['posix_spawn', 'execv', 'execvp']) {
        const ran = await watch.observe(watch.probe, [how, foreign])
        assert.deepEqual([ran.code, ran.attached, ran.complete, ran.stderr], [0, true, false, ''])
        assert.match(ran.stdout, /^PATH=/m)
        assert.doesNotMatch(ran.stdout, /shoal-observer\.so/)
      }
      const file = await watch.newFile()
      const [before, after] = ['/lib/none-1.so', '/lib/none-2.so']
      const preload = `${before}:${watch.library}:${after}`
      const both = run(watch.probe, ['execv', foreign], { env: { ...watch.env(file), LD_PRELOAD: preload } })
      assert.match(both.stdout, new RegExp(`^LD_PRELOAD=${before}:${after}:?$`, 'm'))
    } finally {
      await rm(other)
    }
  })

  test('what was preloaded behind it is called before libc', async () => {
    const at = await watch.empty()
    await writeFile(join(at, 'other.c'), 'int access(const char *path, int mode) { return 7; }\n')
    execFileSync('cc', ['-shared', '-fPIC', '-o', 'other.so', 'other.c'], { cwd: at })
    const file = await watch.newFile()
    const preload = `${watch.library}:${join(at, 'other.so')}`
    const { stdout } = run(watch.probe, ['access', '/none'], { env: { ...watch.env(file), LD_PRELOAD: preload } })
    assert.equal(stdout, '1 0\n')
    assert.notEqual((await watch.observe(watch.probe, ['access', '/none'])).stdout, stdout)
    const { events, complete } = readObservations(file)
    assert.ok(complete && events.some(({ kind, path }) => kind === 'stat' && path === '/none'))
  })

  test('what is no program is missed only if it could be one', async () => {
    const at = await watch.empty()
    const text = join(at, 'text')
    await writeFile(text, 'echo from a shell', { mode: 0o755 })
    const shell = await watch.observe(watch.probe, ['execvp', text])
    assert.deepEqual([shell.stdout, shell.complete], ['from a shell\n', true])

    const broken = join(at, 'broken')
    await writeFile(broken, '\x7fELF and no more', { mode: 0o755 })
    const plain = run(watch.probe, ['execv', broken])
    const ran = await watch.observe(watch.probe, ['execv', broken])
    assert.deepEqual([ran.stdout, ran.complete], [plain.stdout, false])

    await chmod(text, 0o644)
    assert.deepEqual((await watch.observe(watch.probe, ['execv', at])).complete, true)
  })

  test('libraries that are loaded while it runs are noted, with what they need', async () => {
    const at = await watch.empty()
    for (const [name, needs] of [
      ['one', []],
      ['two', ['-L', at, '-l', 'one']],
    ] as const) {
      await writeFile(
        join(at, `${name}.rs`),
        `${needs.length ? 'extern "C" { fn one(); }' : ''}
        #[no_mangle] pub extern "C" fn ${name}() { ${needs.length ? 'unsafe { one() }' : ''} }`,
      )
      const rpath = ['-C', 'link-arg=-Wl,-rpath,$ORIGIN']
      execFileSync(rustc, ['--crate-type=cdylib', `${name}.rs`, ...needs, ...rpath], { cwd: at })
    }
    const path = join(at, 'libtwo.so')
    const ran = await watch.observe(watch.probe, ['dlopen', path])
    assert.equal(ran.stdout, '1 0\n')
    for (const name of ['libone.so', 'libtwo.so']) assert.ok(ran.events.map(shown).includes(`load 0 ${at}/${name}`))
    const absent = await watch.observe(watch.probe, ['dlopen', '/nonexistent/lib.so'])
    assert.ok(absent.events.map(shown).includes('load 2 /nonexistent/lib.so'))
    const named = await watch.observe(watch.probe, ['dlopen', 'libtwo.so'], { env: { LD_LIBRARY_PATH: at } })
    assert.equal(named.stdout, '1 0\n')
    assert.ok(named.complete && named.events.map(shown).includes(`load 0 ${path}`))
    const killed = await watch.observe(watch.probe, ['dlopen-abort', 'libtwo.so'], { env: { LD_LIBRARY_PATH: at } })
    assert.deepEqual([killed.signal, killed.complete], ['SIGABRT', false])
  })
})

describe('the file', onlyWhereItRuns, () => {
  before(async () => {
    watch = await Watch.make()
  })
  after(() => watch.remove())

  test('without one that can be used the program runs all the same', async () => {
    const at = await watch.empty()
    const garbage = Buffer.alloc(1 << 20, 'garbage')
    await writeFile(join(at, 'garbage'), garbage)
    await writeFile(join(at, 'short'), 'short')
    await mkdir(join(at, 'directory'))
    execFileSync('mkfifo', [join(at, 'fifo')])
    const plain = run(watch.probe, ['stat', '/'])
    for (const name of ['missing', 'garbage', 'short', 'directory', 'fifo', '../'.repeat(2000)]) {
      assert.deepEqual(run(watch.probe, ['stat', '/'], { env: watch.env(join(at, name)) }), plain)
    }
    assert.deepEqual(run(watch.probe, ['stat', '/'], { env: watch.env('relative') }), plain)
    assert.deepEqual(run(watch.probe, ['stat', '/'], { env: { LD_PRELOAD: watch.library } }), plain)
    assert.deepEqual(await readFile(join(at, 'garbage')), garbage)
    assert.equal((await stat(join(at, 'short'))).size, 5)
    assert.deepEqual((await readdir(at)).sort(), ['directory', 'fifo', 'garbage', 'short'])
  })

  test('that is full makes the observations incomplete', async () => {
    const ran = await watch.observe('/bin/sh', ['-c', 'cat /etc/*.conf >/dev/null'], { bytes: 65600 + 1024 })
    assert.deepEqual([ran.code, ran.attached, ran.complete], [0, true, false])
    assert.ok(ran.events.length > 0)
  })

  test('that has holes gets room on the disk as it grows', async () => {
    const at = await watch.empty()
    const names = Array.from({ length: 3000 }, (_, index) => join(at, `${'n'.repeat(100)}-${index}`))
    const script = `for name in ${names.join(' ')}; do test -e $name; done`
    await writeFile(join(at, 'script'), script)
    const ran = await watch.observe('/bin/sh', [join(at, 'script')])
    assert.equal(ran.complete, true)
    const absent = new Set(ran.events.filter(({ errno }) => errno !== 0).map(({ path }) => path))
    assert.ok(names.every((name) => absent.has(name)))
    const { size, blocks } = await stat(ran.file)
    assert.equal(size, observationBytes)
    assert.ok(blocks * 512 < size)
  })

  test('is shared by programs that run at the same time', async () => {
    const file = await watch.newFile()
    const children = Array.from({ length: 4 }, (_, index) => {
      const script = `for n in $(seq 300); do test -e /nonexistent/${index}-$n; done; test -e /nonexistent/shared`
      return spawn('/bin/sh', ['-c', script], { env: watch.env(file), stdio: 'ignore' })
    })
    await Promise.all(children.map((child) => once(child, 'exit')))
    const { complete, events } = readObservations(file)
    assert.equal(complete, true)
    const paths = events.filter(({ kind }) => kind === 'stat').map(({ path }) => path)
    for (let index = 0; index < 4; index += 1)
      for (let n = 1; n <= 300; n += 1) assert.ok(paths.includes(`/nonexistent/${index}-${n}`))
    assert.equal(paths.filter((path) => path === '/nonexistent/shared').length, 1)
  })

  test('holds what a program did that was killed or failed', async () => {
    const file = await watch.newFile()
    const child = spawn(watch.probe, ['wait', '/etc/passwd'], {
      env: watch.env(file),
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    await waits(child)
    child.kill('SIGKILL')
    await once(child, 'exit')
    const killed = readObservations(file)
    assert.ok(killed.complete && killed.events.map(shown).includes('open 0 /etc/passwd'))

    const failed = await watch.observe(watch.probe, ['abort', '/etc/passwd'])
    assert.equal(failed.signal, 'SIGABRT')
    assert.ok(failed.complete && failed.events.map(shown).includes('open 0 /etc/passwd'))
  })

  test('that is removed while programs run hurts nobody', async () => {
    const file = await watch.newFile()
    const child = spawn(watch.probe, ['wait', '/etc/passwd'], {
      env: watch.env(file),
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    await waits(child)
    await rm(file)
    child.stdin?.end('\n')
    assert.deepEqual(await once(child, 'exit'), [0, null])
  })

  test('has no name in /proc: no descriptor of it stays open', async () => {
    const ran = await watch.observe('/bin/sh', ['-c', 'ls -l /proc/$$/fd; ls -l /proc/self/fd'])
    assert.doesNotMatch(ran.stdout, /shoal-reads/)
    assert.match(ran.stdout, / 0 -> /)
  })

  test('names what it can where there is no /proc', withBubblewrap(), async () => {
    const at = await watch.empty()
    await mkdir(join(at, 'sub'))
    await writeFile(join(at, 'sub/file'), '')
    for (const [call, expected] of [
      [['openat', join(at, 'sub'), 'file', '0'], `open 0 ${at}/sub/file`],
      [['fdopendir', join(at, 'sub')], `list 0 ${at}/sub`],
      [['realpath', join(at, 'sub/file')], `stat 0 ${at}/sub/file`],
    ] as const) {
      const file = await watch.newFile()
      const variables = Object.entries(watch.env(file)).flatMap((pair) => ['--setenv', ...pair])
      const ended = run('bwrap', ['--dev-bind', '/', '/', '--tmpfs', '/proc', ...variables, watch.probe, ...call])
      assert.deepEqual([ended.code, ended.stdout, ended.stderr], [0, '1 0\n', ''])
      const { complete, events } = readObservations(file)
      assert.deepEqual([complete, events[0]?.kind, events[0]?.path], [true, 'attach', watch.probe])
      assert.ok(events.map(shown).includes(expected))
    }
  })

  test('holds what was written before it is cut off, if it is read', async () => {
    const ran = await watch.observe(watch.probe, ['stat', '/'])
    await truncate(ran.file, 65600 + 24)
    assert.equal(readObservations(ran.file).complete, false)
  })
})

function withBubblewrap(): { skip: string | false } {
  const works = run('bwrap', ['--dev-bind', '/', '/', '--tmpfs', '/proc', '/bin/true']).code === 0
  return { skip: !works && 'bubblewrap cannot be used' }
}

async function waits(child: ChildProcess): Promise<void> {
  assert.ok(child.stdout)
  const [chunk] = await once(child.stdout, 'data')
  assert.equal(String(chunk), 'waiting\n')
}
