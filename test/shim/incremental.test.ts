import assert from 'node:assert/strict'
import { readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { Bench, type Peer, type RunFrame, runFrame, rustc } from './support.ts'

let bench: Bench
let privateDir = ''
let runs = 0
before(async () => {
  bench = await Bench.create()
})
after(() => bench.remove())
beforeEach(() => {
  privateDir = join(bench.dir, `private/${++runs}`)
})
afterEach(() => bench.reset())

const source = "pub fn place() -> &'static str { file!() }\npub fn unused() { let x = 1; }\n"
const rmeta = 'libdemo-9d0e6d1c8f.rmeta'
const cache = () => join(bench.workspace, 'target/debug/incremental')
const incremental = () => [...bench.lib(), '-C', `incremental=${cache()}`]

async function run(args: string[], more: Partial<RunFrame>, options: { program?: string } = {}, dir = privateDir) {
  const daemon = await bench.listen()
  const { ended } = bench.start(args, options)
  const { peer, compile } = await daemon.greet()
  const ran = await peer.run(dir, more)
  await daemon.close()
  return { ran, compile, ended: await ended }
}

/** A rustc that adds its arguments to a file, a line each time. */
const noting = (then = '') => bench.script(`echo "$*" >> noted; ${then}`)
const noted = async () => (await readFile(join(bench.workspace, 'noted'), 'utf8')).trim().split('\n')

describe('an incremental compile that is to run without it', () => {
  test('gives what a compile gives that never was incremental', async () => {
    await bench.write('src/lib.rs', source)
    const plain = await bench.expected(bench.lib())
    const remapped = await bench.expected([...bench.lib(), ...bench.remaps()])
    const withIt = await bench.expected([...incremental(), ...bench.remaps()])
    // Or there would be no need to.
    assert.notDeepEqual(withIt.files[rmeta], remapped.files[rmeta])
    await rm(cache(), { recursive: true })
    for (const dir of [privateDir, '']) {
      const { ended } = await run(incremental(), { stripIncremental: true }, {}, dir)
      assert.deepEqual(ended, plain.ended)
      assert.deepEqual(await bench.files(), remapped.files)
      await assert.rejects(stat(cache()), { code: 'ENOENT' })
      await bench.reset()
      await bench.write('src/lib.rs', source)
    }
  })

  test('is told to the daemon as cargo has it', async () => {
    const { compile } = await run(incremental(), { stripIncremental: true }, { program: await noting() })
    const argv = compile.argv.map((arg) => Buffer.from(arg).toString())
    assert.deepEqual(argv.slice(1), incremental())
  })

  const spellings: [string, string[], string[]][] = [
    ['-C incremental=x', ['-C', 'incremental=/i'], []],
    ['-Cincremental=x', ['-Cincremental=/i'], []],
    ['--codegen incremental=x', ['--codegen', 'incremental=/i'], []],
    ['--codegen=incremental=x', ['--codegen=incremental=/i'], []],
    ['twice', ['-Cincremental=/i', '-C', 'incremental=/j', '-O'], ['-O']],
    ['between others', ['-C', 'debuginfo=2', '-C', 'incremental=/i', '-g'], ['-C', 'debuginfo=2', '-g']],
    ['the value of another option', ['--cfg', '-Cincremental=/i'], ['--cfg', '-Cincremental=/i']],
    ['after a short option with its value', ['-L/x', '-Cincremental=/i'], ['-L/x']],
    ['another option that begins like it', ['-Cincremental-x=1'], ['-Cincremental-x=1']],
  ]
  test('has the option left out however it is spelt, and nothing else', async () => {
    const program = await noting()
    for (const [at, [name, given, kept]] of spellings.entries()) {
      for (const dir of ['', `${privateDir}-${at}`]) {
        await run([...bench.lib(), ...given], { stripIncremental: true }, { program }, dir)
        const args = [...bench.remaps(), ...bench.lib(), ...kept].join(' ')
        const real = dir === '' ? args : args.replace(`--out-dir ${bench.out}`, `--out-dir ${dir}`)
        assert.equal((await noted()).at(-1), real, name)
      }
    }
  })

  test('has it left out of an argument file, which is passed on as it is if it has none', async () => {
    const program = await noting()
    const file = await bench.write('args-file', incremental().join('\n'))
    await run([`@${file}`], { stripIncremental: true }, { program }, '')
    assert.equal((await noted()).at(-1), [...bench.remaps(), ...bench.lib()].join(' '))
    await run([`@${file}`], { stripIncremental: false }, { program }, '')
    assert.equal((await noted()).at(-1), [...bench.remaps(), `@${file}`].join(' '))
    await bench.write('args-file', bench.lib().join('\n'))
    await run([`@${file}`], { stripIncremental: true }, { program }, '')
    assert.equal((await noted()).at(-1), [...bench.remaps(), `@${file}`].join(' '))
  })

  test('has it left out of an argument file that is too long for a command line', async () => {
    await bench.write('src/lib.rs', source)
    const cfg = `values("${'x'.repeat(140_000)}")`
    const long = ['--check-cfg', `cfg(feature, ${cfg})`]
    const file = await bench.write('args-file', [...incremental(), ...long].join('\n'))
    const fair = await bench.write('fair-file', [...bench.lib(), ...long, ...bench.remaps()].join('\n'))
    const remapped = await bench.expected([`@${fair}`])
    assert.equal(remapped.ended.code, 0)
    for (const dir of [privateDir, '']) {
      const { ended } = await run([`@${file}`], { stripIncremental: true }, {}, dir)
      assert.equal(ended.code, 0, ended.stderr.toString())
      assert.deepEqual(await bench.files(), remapped.files)
      await bench.expected(['-vV'])
    }
    await assert.rejects(stat(cache()), { code: 'ENOENT' })
  })

  test('stays without it when it has to run again', async () => {
    // This one cannot be put in place: there is a directory of that name.
    await bench.write('target/debug/deps/libdemo.rlib/x', '')
    const program = await noting(`
      while [ "$1" != --out-dir ]; do shift; done
      [ -d "$2/libdemo.rlib" ] || echo lib > "$2/libdemo.rlib"`)
    const { ended } = await run(incremental(), { stripIncremental: true }, { program })
    assert.equal(ended.code, 0)
    const lines = await noted()
    assert.equal(lines.length, 2)
    for (const line of lines) assert.doesNotMatch(line, /incremental/)
  })
})

describe('an incremental compile stays incremental', () => {
  test('when the daemon does not say otherwise', async () => {
    await bench.write('src/lib.rs', source)
    const { ended } = await run(incremental(), { stripIncremental: false })
    assert.equal(ended.code, 0)
    assert.ok((await stat(cache())).isDirectory())
  })

  test('when the daemon refuses it, or is not there', async () => {
    const program = await noting()
    const expected = [...bench.remaps(), ...incremental()].join(' ')
    const daemon = await bench.listen()
    const { ended } = bench.start(incremental(), { program })
    const { peer } = await daemon.greet()
    peer.send({ type: 'refuse', reason: 'x' })
    assert.equal((await ended).code, 0)
    assert.equal((await noted()).at(-1), expected)
    await bench.reset()
    await bench.announce()
    await bench.start(incremental(), { program: await noting() }).ended
    assert.deepEqual(await noted(), [expected])
  })
})

describe('after a file was placed, which never is one of an incremental compile, the run here is not incremental', () => {
  const ways: [string, (peer: Peer) => void][] = [
    ['when the daemon says so', (peer) => peer.send(runFrame(privateDir, { stripIncremental: true }))],
    ['when it does not say so', (peer) => peer.send(runFrame(privateDir))],
    ['without a directory', (peer) => peer.send(runFrame('', { stripIncremental: true }))],
    ['when the daemon goes', (peer) => void peer.socket.end()],
  ]
  for (const [name, act] of ways) {
    test(name, async () => {
      await bench.write('src/lib.rs', source)
      const { files } = await bench.expected([...bench.lib(), ...bench.remaps()])
      const path = join(bench.out, rmeta)
      const program = await noting(`exec '${rustc}' "$@"`)
      const daemon = await bench.listen()
      const { ended } = bench.start(incremental(), { program })
      const { peer } = await daemon.greet()
      await bench.place(path, files[rmeta] ?? Buffer.alloc(0))
      peer.send({ type: 'placed', path })
      act(peer)
      assert.equal((await ended).code, 0)
      assert.deepEqual(await bench.files(), files)
      assert.deepEqual((await noted()).length, 1)
    })
  }
})
