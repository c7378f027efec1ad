import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join, normalize } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { readObservations } from '../../src/plan/observation.ts'
import { fixture, onlyWhereItRuns, type Ran, run, shown, Watch } from './observer/support.ts'
import { rustc } from './support.ts'

/** The compilers to try: the one of this checkout, and nightly where it is installed. */
function compilers(): [name: string, rustc: string][] {
  const nightly = spawnSync('rustc', ['+nightly', '--print=sysroot'], { encoding: 'utf8' })
  const found: [string, string][] = [['rustc', rustc]]
  if (nightly.status === 0) found.push(['nightly', join(nightly.stdout.trim(), 'bin/rustc')])
  return found
}

let watch: Watch

describe('what a compile reads', onlyWhereItRuns, () => {
  before(async () => {
    watch = await Watch.make()
  })
  after(() => watch.remove())

  for (const [name, compiler] of compilers()) {
    test(`${name}: what a procedural macro looks at, and nothing that it could notice`, async () => {
      const at = await watch.empty()
      const look = await makePlaceToLookAt(at)
      await buildMacro(at, compiler)
      for (const out of ['plain', 'observed']) await mkdir(join(at, out))
      await writeFile(join(at, 'user.rs'), "use looker::look; look!(); pub fn seen() -> &'static str { SEEN }")
      const env = { LOOK_DIR: look, LOOK_SET: 'value', HOME: '/nonexistent' }
      const args = (out: string): string[] => [
        ...['user.rs', '--edition=2021', '--crate-type=lib', '--emit=dep-info,metadata,link', '--error-format=json'],
        ...['--extern', `looker=${join(at, 'liblooker.so')}`, '--out-dir', out, '-C', 'debuginfo=2'],
      ]
      const plain = run(compiler, args('plain'), { cwd: at, env })
      assert.deepEqual([plain.code, plain.stderr], [0, ''])
      const ran = await watch.observe(compiler, args('observed'), { cwd: at, env })
      assert.deepEqual([ran.code, ran.signal, ran.stdout, ran.stderr], Object.values(plain))
      await sameFiles(join(at, 'plain'), join(at, 'observed'))

      assert.equal(ran.complete, true)
      const lines = ran.events.map(shown)
      const threads = Array.from({ length: 8 }, (_, index) => `open 0 ${look}/thread-${index}.txt`)
      const expected = [
        ...[`open 0 ${look}/outside.txt`, `list 0 ${look}/listed`, `stat 2 ${look}/absent.txt`],
        ...[`link 0 ${look}/a-link`, `exec 0 ${look}/script.sh`, `open 0 ${look}/script.sh`],
        ...[`open 0 ${look}/by-script.txt`, `open 0 ${look}/by-sh.txt`, 'exec 0 sh', ...threads],
        ...[`open 0 ${look}/listed/../relative.txt`, `load 0 ${at}/liblooker.so`, `open 0 ${at}/user.rs`],
        `attach 0 ${compiler}`,
      ]
      assert.deepEqual(
        expected.filter((line) => !lines.includes(line)),
        [],
      )
      const asked = ran.events.filter(({ kind, macro }) => kind === 'env' && macro).map(shown)
      for (const line of ['env 0 LOOK_DIR', 'env 0 LOOK_SET', 'env 2 LOOK_UNSET']) assert.ok(asked.includes(line))
      const own = ran.events.filter(({ kind, macro }) => kind === 'env' && !macro).map(({ path }) => path)
      assert.ok(own.includes('RUSTC_LOG') && !own.some((variable) => variable.startsWith('LOOK_')))
      assert.ok(!asked.some((line) => line.includes('RUSTC_LOG')))
    })

    test(`${name}: who asks for the date or the name of the machine, the compiler not counted`, async () => {
      const at = await watch.empty()
      await buildMacro(at, compiler)
      const args = ['main.rs', '--edition=2021', '--extern', `looker=${join(at, 'liblooker.so')}`]
      const asked = async (what: string): Promise<string[]> => {
        await writeFile(join(at, 'main.rs'), `looker::ask!(${what}); fn main() {}`)
        const ran = await watch.observe(compiler, args, { cwd: at })
        assert.deepEqual([ran.code, ran.complete], [0, true], ran.stderr)
        const told = ran.events.filter(({ kind, path }) => kind === 'clock' || /^(gethostname|uname|libm)\(/.test(path))
        return told.map((event) => shown(event) + (event.macro ? ' by a macro' : ''))
      }
      // Nothing of what rustc and the linker do.
      assert.deepEqual(await asked('nothing'), [])
      assert.deepEqual(await asked('since'), [])
      assert.deepEqual(await asked('date'), ['clock 0 clock_gettime'])
      assert.deepEqual(await asked('date_in_a_thread'), ['clock 0 clock_gettime'])
      assert.deepEqual(await asked('date_of_a_program'), ['clock 0 clock_gettime'])
      for (const what of ['sine', 'small_sine', 'growth']) assert.deepEqual(await asked(what), ['env 0 libm()'], what)
      assert.deepEqual(await asked('system_of_a_program'), ['env 0 uname() by a macro'])
      assert.deepEqual(await asked('host'), ['env 0 gethostname() by a macro'])
      assert.deepEqual(await asked('system'), ['env 0 uname() by a macro'])
    })

    test(`${name}: what is constant is computed with libm, and only then is that told`, async () => {
      const at = await watch.empty()
      const asks = async (body: string, ...args: string[]): Promise<boolean> => {
        await writeFile(join(at, 'lib.rs'), `#[no_mangle] pub fn f(x: f64) -> f64 { ${body} }`)
        const ran = await watch.observe(compiler, ['lib.rs', '--crate-type=lib', '-O', ...args], { cwd: at })
        assert.deepEqual([ran.code, ran.complete], [0, true], ran.stderr)
        return ran.events.some(({ kind, path }) => kind === 'env' && path === 'libm()')
      }
      assert.equal(await asks('x * 2.0_f64.powf(1.7)'), true)
      assert.equal(await asks('x + 0.3_f64.sin()'), true)
      assert.equal(await asks('x.sin() * x.powf(1.7).sqrt()'), false)
      assert.equal(await asks('x + 0.3_f64.sin()', '--emit=metadata'), false)
    })

    for (const linker of ['as it comes', 'bfd']) {
      test(`${name}: all that is linked, linker ${linker}`, async () => {
        const at = await watch.empty()
        await writeFile(join(at, 'main.rs'), 'fn main() { println!("{}", "linked".len()) }')
        const dependencies = join(at, 'linked.d')
        const fuse = linker === 'bfd' ? ['-C', 'link-arg=-fuse-ld=bfd'] : []
        const args = (out: string): string[] => ['main.rs', '--out-dir', out, ...fuse]
        const plain = run(compiler, args('plain'), { cwd: at })
        assert.deepEqual([plain.code, plain.stderr], [0, ''])
        const ran = await watch.observe(compiler, args('observed'), { cwd: at })
        assert.deepEqual([ran.code, ran.signal, ran.stdout, ran.stderr], Object.values(plain))
        await sameFiles(join(at, 'plain'), join(at, 'observed'))
        assert.equal(ran.complete, true)
        assert.ok(attached(ran).some((program) => /\/collect2$/.test(program)))
        assert.ok(attached(ran).some((program) => /ld\.bfd$|rust-lld$|ld\.lld$/.test(program)))

        const named = ['-C', `link-arg=-Wl,--dependency-file=${dependencies}`, '-C', 'save-temps']
        const told = await watch.observe(compiler, [...args('told'), ...named], { cwd: at })
        assert.deepEqual([told.code, told.complete], [0, true])
        const read = new Set(told.events.filter(({ errno }) => errno === 0).map(({ path }) => normalize(path)))
        const linked = await prerequisites(dependencies, at)
        assert.ok(linked.some((path) => /crt1\.o$/.test(path)) && linked.some((path) => /libstd-.*\.rlib$/.test(path)))
        assert.deepEqual(
          linked.filter((path) => !read.has(path)),
          [],
        )
      })
    }

    test(`${name}: every path that a system call names`, withStrace(), async () => {
      const at = await watch.empty()
      const look = await makePlaceToLookAt(at)
      await buildMacro(at, compiler)
      await writeFile(join(at, 'main.rs'), 'looker::look!(); fn main() { println!("{SEEN}") }')
      const file = await watch.newFile()
      const trace = join(at, 'trace')
      const variables = watch.env(file, { LOOK_DIR: look, LOOK_SET: 'value' })
      const options = ['-f', '-y', '-s', '4096', '-e', 'trace=%file', '-o', trace]
      const passed = ['LD_PRELOAD', 'SHOAL_OBSERVE'].flatMap((key) => ['-E', `${key}=${variables[key]}`])
      const { LD_PRELOAD: _, SHOAL_OBSERVE: __, ...env } = variables
      const compile = [compiler, 'main.rs', '--edition=2021', '--extern', `looker=${join(at, 'liblooker.so')}`]
      const ended = run('strace', [...options, ...passed, ...compile], { cwd: at, env })
      assert.deepEqual([ended.code, ended.stderr], [0, ''])

      const { complete, events } = readObservations(file)
      assert.equal(complete, true)
      const known = new Set(events.map(({ path }) => path))
      const traced = tracedPaths(await readFile(trace, 'utf8'), at, file)
      assert.ok(traced.size > 200)
      assert.deepEqual(
        [...traced].filter(([path]) => !known.has(path)).map(([, line]) => line),
        [],
      )
    })
  }
})

const attached = ({ events }: Ran): string[] => events.filter(({ kind }) => kind === 'attach').map(({ path }) => path)

async function makePlaceToLookAt(at: string): Promise<string> {
  const look = join(at, 'look')
  await mkdir(join(look, 'listed'), { recursive: true })
  for (const name of ['outside', 'by-script', 'by-sh', 'relative', 'listed/a', 'listed/b'])
    await writeFile(join(look, `${name}.txt`), `${name}\n`)
  for (let index = 0; index < 8; index += 1) await writeFile(join(look, `thread-${index}.txt`), `${index}`)
  await symlink('outside.txt', join(look, 'a-link'))
  await writeFile(join(look, 'script.sh'), '#!/bin/sh\ncat "$1"\n', { mode: 0o755 })
  return look
}

async function buildMacro(at: string, compiler: string): Promise<void> {
  const args = ['--edition=2021', '--crate-type=proc-macro', '--crate-name=looker', '-C', 'prefer-dynamic']
  execFileSync(compiler, [...args, '--extern', 'proc_macro', fixture('macros.rs')], { cwd: at, stdio: 'pipe' })
}

async function sameFiles(one: string, other: string): Promise<void> {
  const names = (await readdir(one)).sort()
  assert.ok(names.length > 0)
  assert.deepEqual((await readdir(other)).sort(), names)
  for (const name of names.filter((name) => !name.endsWith('.d')))
    assert.ok((await readFile(join(one, name))).equals(await readFile(join(other, name))), `${name} is another`)
}

/** What the rules of a dependency file name, absolute and normalised. */
async function prerequisites(file: string, cwd: string): Promise<string[]> {
  const text = (await readFile(file, 'utf8')).replaceAll('\\\n', ' ')
  const paths = text.split('\n').flatMap((line) =>
    line
      .slice(line.indexOf(':') + 1)
      .trim()
      .split(/\s+/),
  )
  return [...new Set(paths.filter(Boolean).map((path) => normalize(path.startsWith('/') ? path : join(cwd, path))))]
}

function withStrace(): { skip: string | false } {
  return { skip: spawnSync('strace', ['-V']).status !== 0 && 'strace is not installed' }
}

/**
 * Paths of the calls of programs, with the call. Left out is what the loader does before the observer is there and in dlopen, what
 * libc does by itself, and the observer's own calls.
 */
function tracedPaths(trace: string, cwd: string, file: string): Map<string, string> {
  const found = new Map<string, string>()
  const observed = new Set<string>()
  for (const line of trace.split('\n')) {
    const [, pid = '', call = '', rest = ''] = /^(\d+)\s+(\w+)\((.*)$/.exec(line) ?? []
    if (rest.includes(`"${file}"`)) observed.add(pid)
    if (call === 'execve') {
      if (/ = 0$/.test(rest)) observed.delete(pid)
      continue
    }
    const [, base = cwd, path = ''] = /^(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"/.exec(rest) ?? []
    if (!observed.has(pid) || path === '' || path === file || call === 'chdir' || call === 'getcwd') continue
    if (ofLibc(call, path, rest)) continue
    found.set(path.startsWith('/') ? path : `${base}/${path}`, line)
  }
  return found
}

function ofLibc(call: string, path: string, rest: string): boolean {
  // The components of realpath(3), of which those that are links are noted; how the observer learns the name of a descriptor.
  if (/^readlink/.test(call)) return rest.includes('EINVAL') || path.startsWith('/proc/self/')
  // realpath(3) again, of a link's target.
  if (rest.includes('AT_EACCESS')) return path.endsWith('/')
  // Where dlopen(3) looks for what a library needs; the size of the main thread's stack.
  return /\/lib[\w+-]+\.so[.\d]*$/.test(path) || /^\/(etc\/ld\.so\.cache|proc\/self\/maps)$/.test(path)
}
