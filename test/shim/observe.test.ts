import assert from 'node:assert/strict'
import { copyFile, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { Bench, type Ended, type Peer, type RunFrame, runFrame, rustc } from './support.ts'

/** A library that leaves its mark at the head of the file it is told. */
const marker = `
use std::io::Write;
extern "C" fn attach() {
    let Some(path) = std::env::var_os("SHOAL_OBSERVE") else { return };
    let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(path) else { return };
    let _ = file.write_all(b"attached");
}
#[used]
#[link_section = ".init_array"]
static ATTACH: extern "C" fn() = attach;
`
const source = "pub fn place() -> &'static str { file!() }\npub fn unused() { let x = 1; }\n"
const stem = '9d0e6d1c8f'
const notes = '.shoal-reads'

describe('a compile that is observed', { skip: process.platform !== 'linux' }, () => {
  let bench: Bench
  let observer = ''
  let privateDir = ''
  let runs = 0
  before(async () => {
    bench = await Bench.create()
    const file = await bench.write('marker.rs', marker)
    const built = await bench.plain(['--crate-type=cdylib', '--edition=2021', '-Cpanic=abort', file, '-o', 'marker.so'])
    assert.equal(built.code, 0, built.stderr.toString())
    observer = join(bench.dir, 'observer.so')
    await rename(join(bench.workspace, 'marker.so'), observer)
  })
  after(() => bench.remove())
  beforeEach(() => {
    privateDir = join(bench.dir, `private dir/${++runs}`)
  })
  afterEach(() => bench.reset())

  const run = async (options = {}, more: Partial<RunFrame> = {}, args = bench.lib()) => {
    const daemon = await bench.listen()
    const { ended } = bench.start(args, options)
    const { peer } = await daemon.greet()
    const ran = await peer.run(privateDir, { observer, ...more })
    await daemon.close()
    return { ran, ended: await ended }
  }
  const showEnvironment = () => bench.script('echo "$LD_PRELOAD|$SHOAL_OBSERVE"')

  test('has the observer loaded, gives what plain rustc gives, and leaves the notes to the daemon', async () => {
    await bench.write('src/lib.rs', source)
    const plain = await bench.expected(bench.lib())
    const remapped = await bench.expected([...bench.lib(), ...bench.remaps()])
    const { ended, ran } = await run()
    assert.deepEqual(ended, plain.ended)
    assert.equal(ran.code, 0)
    assert.deepEqual(await bench.files(), remapped.files)
    const { [notes]: written, ...kept } = await bench.files(privateDir)
    assert.equal(written?.subarray(0, 8).toString(), 'attached')
    const { size, blocks, mode } = await stat(join(privateDir, notes))
    assert.deepEqual([size, mode & 0o777], [8 * 1024 * 1024, 0o600])
    assert.ok(blocks * 512 < 1024 * 1024, `${blocks} blocks`)
    assert.deepEqual(Object.keys(kept), Object.keys(remapped.files))
  })

  test('keeps the libraries that were to be loaded before', async () => {
    const other = join(bench.dir, 'other.so')
    await copyFile(observer, other)
    const { ran } = await run({ program: await showEnvironment(), env: { LD_PRELOAD: other } })
    const shown = Buffer.from(ran.stdout).toString()
    assert.equal(shown, `${observer}:${other}|${join(privateDir, notes)}\n`)
    assert.equal((await readFile(join(privateDir, notes))).subarray(0, 8).toString(), 'attached')
  })

  test('is run unobserved, without a word, where that cannot be done', async () => {
    const program = await showEnvironment()
    const spaced = join(bench.dir, 'an observer.so')
    const colon = join(bench.dir, 'an:observer.so')
    await copyFile(observer, spaced)
    await copyFile(observer, colon)
    const dangling = join(bench.dir, 'dangling.so')
    await symlink('/no/such/observer.so', dangling)
    for (const path of ['', '/no/such/observer.so', dangling, bench.dir, spaced, colon]) {
      privateDir = join(bench.dir, `private/${++runs}`)
      const { ended } = await run({ program }, { observer: path })
      assert.deepEqual([ended.code, ended.stdout.toString(), ended.stderr.toString()], [0, '|\n', ''], path)
      assert.deepEqual(await bench.files(privateDir), {}, path)
    }
  })

  test('is run unobserved without a private directory of its own, even after a file was placed', async () => {
    const program = await showEnvironment()
    privateDir = ''
    assert.equal((await run({ program })).ended.stdout.toString(), '|\n')
    privateDir = bench.workspace
    assert.equal((await run({ program })).ended.stdout.toString(), '|\n')
    const daemon = await bench.listen()
    const { ended } = bench.start(bench.lib(), { program })
    const { peer } = await daemon.greet()
    peer.send({ type: 'placed', path: join(bench.out, 'x.rmeta') }, runFrame('', { observer }))
    assert.equal((await ended).stdout.toString(), '|\n')
  })

  test('is run unobserved where the notes would be longer than a file may be', async () => {
    const program = await bench.script('echo "$LD_PRELOAD|$SHOAL_OBSERVE|$(grep SigIgn /proc/self/status)"')
    const daemon = await bench.listen()
    const { ended } = bench.spawn(
      '/bin/sh',
      ['-c', 'ulimit -f 1024; exec "$@"', 'sh', bench.shim, program, ...bench.lib()],
      {},
    )
    const { peer } = await daemon.greet()
    await peer.run(privateDir, { observer })
    const { code, stdout } = await ended
    const [, preload, observe, ignored = ''] = /^(.*)\|(.*)\|SigIgn:\t(\w+)\n$/.exec(stdout.toString()) ?? []
    assert.deepEqual([code, preload, observe], [0, '', ''])
    // What is done to get through this is not left to rustc: SIGXFSZ is number 25.
    assert.equal((BigInt(`0x${ignored}`) >> 24n) & 1n, 0n)
    assert.deepEqual(await bench.files(privateDir), {})
  })

  describe('and crashes is run once more, unobserved:', () => {
    const crashing = (text: string) =>
      bench.script(`
        case "$SHOAL_OBSERVE" in '') ;; *)
          while [ "$1" != --out-dir ]; do shift; done
          ${text}
          kill -SEGV $$ ;;
        esac
        exec '${rustc}' "$@"`)

    test('the build does not notice, and there is nothing to collect', async () => {
      await bench.write('src/lib.rs', source)
      const plain = await bench.expected(bench.lib())
      const remapped = await bench.expected([...bench.lib(), ...bench.remaps()])
      const { ended, ran } = await run({ program: await crashing('') })
      assert.deepEqual(ended, plain.ended)
      assert.equal(ran.code, 0)
      assert.deepEqual(await bench.files(), remapped.files)
      await assert.rejects(stat(privateDir), { code: 'ENOENT' })
    })

    test('what it announced stays as it is if it comes out equal, and else is removed', async () => {
      const rmeta = `libdemo-${stem}.rmeta`
      for (const equal of [true, false]) {
        await bench.write('src/lib.rs', source)
        const { files } = await bench.expected([...bench.lib(), ...bench.remaps()])
        const bytes = equal ? files[rmeta] : Buffer.from('another')
        await writeFile(join(bench.workspace, 'early'), bytes ?? '')
        const program = await crashing(`
          cp early "$2/${rmeta}"
          printf '{"artifact":"%s","emit":"metadata"}\\n' "$2/${rmeta}" >&2`)
        privateDir = join(bench.dir, `private/${++runs}`)
        const { ended } = await run({ program })
        const announced = ended.stderr
          .toString()
          .split('\n')
          .filter((line) => line.includes(`${rmeta}"`))
        assert.equal(announced.length, 1)
        assert.equal(ended.code, equal ? 0 : 1)
        const left = await bench.files()
        if (equal) assert.deepEqual(left, files)
        else assert.ok(!(rmeta in left) && !(`libdemo-${stem}.rlib` in left), Object.keys(left).join())
        await bench.reset()
      }
    })

    test('but not after a signal that somebody sent, nor after a plain failure', async () => {
      const end = async (text: string): Promise<[Ended, string]> => {
        privateDir = join(bench.dir, `private/${++runs}`)
        const { ended } = await run({ program: await bench.script(`echo once >> runs; ${text}`) })
        return [ended, await readFile(join(bench.workspace, 'runs'), 'utf8')]
      }
      const [failed, first] = await end('exit 1')
      assert.deepEqual([failed.code, first], [1, 'once\n'])
      await bench.reset()
      const [killed, second] = await end('kill -TERM $$')
      assert.deepEqual([killed.signal, second], ['SIGTERM', 'once\n'])
    })
  })

  test('ends as it crashes when it does so unobserved, too', async () => {
    const { ended, ran } = await run({ program: await bench.script('kill -SEGV $$') })
    assert.deepEqual([ended.signal, ran.code], ['SIGSEGV', -11])
  })

  test('after a file was placed is compared with it as ever', async () => {
    await bench.write('src/lib.rs', source)
    const { files } = await bench.expected([...bench.lib(), ...bench.remaps()])
    const path = join(bench.out, `libdemo-${stem}.rmeta`)
    const daemon = await bench.listen()
    const act = async (peer: Peer, bytes: Buffer) => {
      await bench.place(path, bytes)
      peer.send({ type: 'placed', path }, runFrame(join(bench.dir, `private/${++runs}`), { observer }))
      assert.equal((await peer.expect('ran')).code, 0)
    }
    for (const [bytes, code] of [
      [files[`libdemo-${stem}.rmeta`] ?? Buffer.alloc(0), 0],
      [Buffer.from('another'), 1],
    ] as const) {
      const { ended } = bench.start(bench.lib())
      const { peer } = await daemon.greet()
      await act(peer, bytes)
      assert.equal((await ended).code, code)
      assert.ok(!(notes in (await bench.files())))
    }
  })
})
