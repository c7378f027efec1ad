import assert from 'node:assert/strict'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { Bench, rustc, toolchain } from './support.ts'

let bench: Bench
before(async () => {
  bench = await Bench.create()
})
after(() => bench.remove())
afterEach(() => bench.reset())

const driver = join(toolchain, 'clippy-driver')
const source = 'pub fn long(x: &Vec<u8>) -> bool { x.len() == 0 }\n'
const check = () => bench.lib().map((arg) => (arg.startsWith('--emit') ? '--emit=dep-info,metadata' : arg))

describe('a compile by clippy-driver', () => {
  test('is told with both programs, and gives the files and the lints of clippy', async () => {
    await bench.write('src/lib.rs', source)
    const options = { program: driver }
    const plain = await bench.plain([rustc, ...check()], options)
    const lints = plain.stderr.toString()
    assert.match(lints, /clippy::ptr_arg/)
    const names = Object.keys(await bench.files())
    await bench.reset()
    await bench.write('src/lib.rs', source)
    await bench.plain([rustc, ...check(), ...bench.remaps()], options)
    const remapped = await bench.files()
    await bench.reset()
    await bench.write('src/lib.rs', source)

    const daemon = await bench.listen()
    const { ended } = bench.start([rustc, ...check()], options)
    const { peer, compile } = await daemon.greet()
    const argv = compile.argv.map((arg) => Buffer.from(arg).toString())
    assert.deepEqual(argv, [driver, rustc, ...check()])
    const ran = await peer.run(join(bench.dir, 'private'), { stripIncremental: true })
    assert.equal(ran.code, 0)
    assert.deepEqual(await ended, plain)
    assert.deepEqual(await bench.files(), remapped)
    assert.deepEqual(Object.keys(remapped), names)
  })

  test('goes through an argument file when the command line is too long', async () => {
    await bench.write('src/lib.rs', source)
    const long = 'x'.repeat(131_000)
    await bench.announce(`remap\t/${long}\t/${long.slice(0, 200)}`)
    const { code, stderr } = await bench.start([rustc, ...check()], { program: driver }).ended
    assert.equal(code, 0)
    assert.match(stderr.toString(), /clippy::ptr_arg/)
    assert.deepEqual(Object.keys(await bench.files()), ['demo-9d0e6d1c8f.d', 'libdemo-9d0e6d1c8f.rmeta'])
  })
})

test('any other program before rustc is run as cargo asked, in this very process', async () => {
  const daemon = await bench.listen()
  await bench.announce()
  const body = '#!/bin/sh\necho "$$ $*"\n'
  for (const [name, ...first] of [
    ['sccache', rustc],
    ['clippy-driver-2', rustc],
    ['clippy-driver', 'cc'],
    ['clippy-driver'],
  ] as const) {
    const program = await bench.write(`wrappers/${name}`, body)
    await chmod(program, 0o755)
    const started = bench.start([...first, ...bench.lib()], { program })
    const { stdout } = await started.ended
    assert.equal(stdout.toString(), `${[started.pid, ...first, ...bench.lib()].join(' ')}\n`)
  }
  assert.equal(daemon.accepted, 0)
})
