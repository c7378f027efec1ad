import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Bench, runFrame, rustc } from './support.ts'

let bench: Bench
before(async () => {
  bench = await Bench.create()
})
after(() => bench.remove())
afterEach(() => bench.reset())

const source = "pub fn place() -> &'static str { file!() }\npub fn unused() { let x = 1; }\n"
const stem = '9d0e6d1c8f'
const strings = (list: Uint8Array[]) => list.map((item) => Buffer.from(item).toString('latin1'))

describe('what the daemon is told', () => {
  test('the call as cargo made it, and what is added to it', async () => {
    const program = await bench.script('exit 0')
    const daemon = await bench.listen()
    const args = [...bench.lib(), '--cfg', 'feature="é\n"']
    const started = bench.start(args, { program, env: { SOME: 'value', OUT_DIR: '/t/build/p-1/out' } })
    const { peer, compile } = await daemon.greet()
    assert.equal(Buffer.from(compile.cwd).toString(), bench.workspace)
    assert.deepEqual(
      compile.argv.map((arg) => Buffer.from(arg).toString()),
      [program, ...args],
    )
    assert.ok(strings(compile.env).includes('SOME=value'))
    assert.deepEqual([compile.pid, compile.ppid, compile.hasJobserver], [started.pid, process.pid, false])
    const flags = compile.remaps.map(({ from, to }) => strings([from, to]).join('='))
    const want = [...bench.remaps().map((flag) => flag.slice(20)), '/t/build/p-1/out=/cargo/build-dir/p-1/out']
    assert.deepEqual(flags, want)
    await peer.run()
    await started.ended
  })

  test('bytes that are not UTF-8, and an argument file by its name', async () => {
    const file = await bench.write('args-file', bench.lib().join('\n'))
    const program = await bench.script('exit 0')
    const daemon = await bench.listen()
    const command = `exec '${bench.shim}' '${program}' '@${file}' "$(printf 'a\\377')"`
    const { ended } = bench.spawn('/bin/sh', ['-c', `ODD=$(printf '\\376'); export ODD; ${command}`], {})
    const { peer, compile } = await daemon.greet()
    assert.deepEqual(strings(compile.argv), [program, `@${file}`, 'a\xff'])
    assert.ok(strings(compile.env).includes('ODD=\xfe'))
    await peer.run()
    assert.equal((await ended).code, 0)
  })
})

describe('the end of a shim', () => {
  test('comes with the report, and with the end of the stream when it is to linger', async () => {
    const program = await bench.script('exit 0')
    const daemon = await bench.listen()
    for (const linger of [false, true]) {
      const { ended } = bench.start(bench.lib(), { program })
      const { peer } = await daemon.greet()
      await peer.run('', { linger })
      let over = false
      const ending = ended.then(() => {
        over = true
      })
      // A process that ends by itself takes a few milliseconds for it; the program that is run here takes longer.
      if (linger) execFileSync('sleep', ['0.2'])
      else await ending
      await setImmediate()
      assert.equal(over, !linger)
      peer.socket.end()
      await ending
    }
  })

  test('is never put off for long', async () => {
    const program = await bench.script('exit 3')
    const daemon = await bench.listen()
    const { ended } = bench.start(bench.lib(), { program })
    const { peer } = await daemon.greet()
    await peer.run('', { linger: true })
    assert.equal((await ended).code, 3)
  })
})

describe('a compile the daemon delivers', () => {
  test('is relayed, heartbeats and all, and ends with the code of the daemon', async () => {
    const program = await bench.script('echo must not run >&2')
    const daemon = await bench.listen()
    for (const code of [0, 1, 101]) {
      const { ended } = bench.start(bench.lib(), { program })
      const { peer } = await daemon.greet()
      peer.send(
        { type: 'beat' },
        { type: 'release', repay: false },
        { type: 'stdout', data: Buffer.from('\xff out', 'latin1') },
      )
      peer.send(
        { type: 'stderr', data: Buffer.from('{"one":1}\n{"tw') },
        { type: 'stderr', data: Buffer.from('o":2}\ntail') },
      )
      peer.send({ type: 'placed', path: '/x/libdemo.rmeta' }, { type: 'exit', code })
      const { stdout, stderr, ...end } = await ended
      assert.deepEqual(end, { code, signal: null })
      assert.deepEqual([stdout.toString('latin1'), stderr.toString()], ['\xff out', '{"one":1}\n{"two":2}\ntail'])
      assert.equal(await peer.next(), undefined)
    }
  })

  test('dies by the signal that rustc died by', async () => {
    const daemon = await bench.listen()
    const { ended } = bench.start(bench.lib())
    const { peer } = await daemon.greet()
    peer.send({ type: 'exit', code: -11 })
    assert.deepEqual(await ended.then(({ code, signal }) => [code, signal]), [null, 'SIGSEGV'])
  })
})

describe('a compile the daemon has run here', () => {
  let runs = 0
  let privateDir = ''
  beforeEach(() => {
    privateDir = join(bench.dir, `private dir/a/${++runs}`)
  })
  const run = async (args = bench.lib(), options = {}, dir = privateDir) => {
    const daemon = await bench.listen()
    const { ended } = bench.start(args, options)
    const { peer, compile } = await daemon.greet()
    const ran = await peer.run(dir)
    return { ran, compile, ended: await ended }
  }

  test('gives the files and the messages of plain rustc, through a private directory that stays for the daemon', async () => {
    await bench.write('src/lib.rs', source)
    const plain = await bench.expected(bench.lib())
    const remapped = await bench.expected([...bench.lib(), ...bench.remaps()])
    const { ran, ended } = await run()
    assert.deepEqual(ended, plain.ended)
    assert.deepEqual(await bench.files(), remapped.files)
    assert.deepEqual([ran.code, ran.truncated, ran.stdout.length], [0, false, 0])
    assert.ok(ran.wallMicros > 0)
    assert.ok(ran.cpuMicros > 0 && ran.cpuMicros < 1e9)
    const raw = Buffer.from(ran.stderr).toString()
    assert.equal(raw.replaceAll(privateDir, bench.out), plain.ended.stderr.toString())
    assert.ok(raw.includes(privateDir))
    const kept = await bench.files(privateDir)
    assert.deepEqual(Object.keys(kept), Object.keys(remapped.files))
    assert.deepEqual(kept[`libdemo-${stem}.rlib`], remapped.files[`libdemo-${stem}.rlib`])
    assert.equal((await stat(privateDir)).mode & 0o777, 0o700)
    const [made, done] = [`libdemo-${stem}.rlib`, '.shoal-done'].map((name) => stat(join(privateDir, name)))
    assert.ok(((await done)?.mtimeMs ?? 0) >= ((await made)?.mtimeMs ?? Number.POSITIVE_INFINITY))
    const rlib = `libdemo-${stem}.rlib`
    assert.equal((await stat(join(privateDir, rlib))).ino, (await stat(join(bench.out, rlib))).ino)
  })

  test('takes an argument file, which it has to open for the other directory', async () => {
    await bench.write('src/lib.rs', source)
    const remapped = await bench.expected([...bench.lib(), ...bench.remaps()])
    const joined = bench
      .lib()
      .map((arg) => (arg === bench.out ? `--out-dir=${arg}` : arg))
      .filter((arg) => arg !== '--out-dir')
    for (const args of [bench.lib(), joined]) {
      const file = await bench.write('args-file', `${args.join('\r\n')}\n`)
      const { ended } = await run([`@${file}`], {}, join(privateDir, String(args.length)))
      assert.equal(ended.code, 0)
      assert.deepEqual(await bench.files(), remapped.files)
      await bench.expected(['-vV'])
      await bench.reset()
      await bench.write('src/lib.rs', source)
    }
  })

  test('goes through an argument file of its own when our flags make the command line too long', async () => {
    await bench.write('src/lib.rs', source)
    const remapped = await bench.expected([...bench.lib(), ...bench.remaps()])
    // Linux allows 128 KiB for one argument: the announced remap cannot be passed on the command line.
    const long = 'x'.repeat(131_000)
    await bench.announce(`remap\t/${long}\t/${long.slice(0, 200)}`)
    const { ended } = await run()
    assert.equal(ended.code, 0)
    assert.deepEqual(await bench.files(), remapped.files)
  })

  test('has its rmeta in place and announced while the rlib is still being made', async () => {
    const gate = join(bench.dir, 'gate')
    execFileSync('mkfifo', [gate])
    const rmeta = join(bench.out, `libdemo-${stem}.rmeta`)
    const program = await bench.script(`
      while [ "$1" != --out-dir ]; do shift; done
      echo meta > "$2/libdemo-${stem}.rmeta"
      printf '{"emit":"metadata","x":[{"artifact":"no"}],"artifact" : "%s"}\\n' "$2/libdemo-${stem}.rmeta" >&2
      read line < '${gate}'
      echo lib > "$2/libdemo-${stem}.rlib"
      echo more > "$2/libdemo-${stem}.dwo"
      printf '{"$message_type":"artifact","artifact":"%s","emit":"link"}' "$2/libdemo-${stem}.rlib" >&2`)
    const daemon = await bench.listen()
    const started = bench.start(bench.lib(), { program })
    const { peer } = await daemon.greet()
    const ran = peer.run(privateDir)
    await started.shows(`"artifact" : "${rmeta}"}\n`)
    assert.deepEqual(await bench.files(), { [`libdemo-${stem}.rmeta`]: Buffer.from('meta\n') })
    const before = await stat(rmeta, { bigint: true })
    const writer = await open(gate, 'w')
    await writer.write('go\n')
    await writer.close()
    await ran
    const { code, stderr } = await started.ended
    assert.equal(code, 0)
    assert.ok(stderr.toString().endsWith(`"artifact":"${bench.out}/libdemo-${stem}.rlib","emit":"link"}`))
    assert.deepEqual(
      Object.keys(await bench.files()),
      ['dwo', 'rlib', 'rmeta'].map((kind) => `libdemo-${stem}.${kind}`),
    )
    const after = await stat(rmeta, { bigint: true })
    assert.deepEqual([after.ino, after.mtimeNs], [before.ino, before.mtimeNs])
  })

  test('runs as cargo asked when there is no private directory, or none that is empty can be made', async () => {
    await bench.write('src/lib.rs', source)
    const plain = await bench.expected(bench.lib())
    const remapped = await bench.expected([...bench.lib(), ...bench.remaps()])
    await bench.write('../used/left', 'by another')
    for (const dir of ['', '/dev/null/x', join(bench.dir, 'used')]) {
      const { ended, ran } = await run(bench.lib(), {}, dir)
      assert.deepEqual(ended, plain.ended)
      assert.deepEqual(Buffer.from(ran.stderr), plain.ended.stderr)
      assert.deepEqual(await bench.files(), remapped.files)
      await bench.reset()
      await bench.write('src/lib.rs', source)
    }
  })

  test('fails as plain rustc fails, with the full names of types that its messages point to', async () => {
    const long = Array.from({ length: 12 }, () => 'std::collections::HashMap<std::string::String, ').join('')
    await bench.write('src/lib.rs', `pub fn f(x: ${long}u8${'>'.repeat(12)}) -> u8 { x }\n`)
    const plain = await bench.expected(bench.lib())
    const { ended, ran } = await run(bench.lib())
    // The number in the name is another one each time.
    const anyName = (text: Buffer) => text.toString().replace(/long-type-\d+/g, 'long-type')
    assert.equal(anyName(ended.stderr), anyName(plain.ended.stderr))
    assert.deepEqual([ended.code, ran.code], [1, 1])
    const names = (files: Record<string, Buffer>) => Object.keys(files).filter((file) => file.endsWith('.txt'))
    assert.equal(names(plain.files).length, 1)
    const [placed = 'none'] = names(await bench.files())
    assert.ok(ended.stderr.includes(join(bench.out, placed)))
  })

  test('runs again in the very out-dir when its outputs cannot be put in place', async () => {
    // The real out-dir has a directory where the private file has to go; this rustc does not mind.
    await mkdir(join(bench.out, 'libdemo.rmeta/x'), { recursive: true })
    const program = await bench.script(`
      while [ "$1" != --out-dir ]; do shift; done
      printf '{"a warning":1}\\n' >&2
      [ -d "$2/libdemo.rmeta" ] || echo meta > "$2/libdemo.rmeta"
      echo lib > "$2/libdemo.rlib"
      printf '{"artifact":"%s"}\\n' "$2/libdemo.rmeta" >&2`)
    const { ended } = await run(bench.lib(), { program })
    assert.deepEqual(
      [ended.code, ended.stderr.toString()],
      [0, `{"a warning":1}\n{"artifact":"${bench.out}/libdemo.rmeta"}\n`],
    )
    assert.deepEqual(Object.keys(await bench.files()), ['libdemo.rlib'])
    assert.deepEqual(await readdir(bench.out), ['libdemo.rlib', 'libdemo.rmeta'])
  })

  test('keeps the mode of a program, and places what lies in directories', async () => {
    const program = await bench.script(`
      while [ "$1" != --out-dir ]; do shift; done
      mkdir -p "$2/demo.dSYM/Contents"; echo info > "$2/demo.dSYM/Contents/Info"
      echo bin > "$2/demo"; chmod 755 "$2/demo"; yes | head -c 9000000; echo raw >&2`)
    const { ended, ran } = await run(bench.lib(), { program })
    assert.deepEqual([ended.code, ended.stdout.length, ended.stderr.toString()], [0, 9_000_000, 'raw\n'])
    assert.deepEqual([ran.truncated, ran.stdout.length], [true, 8 * 1024 * 1024 - 64])
    assert.deepEqual(Object.keys(await bench.files()), ['demo', 'demo.dSYM/Contents/Info'])
    assert.equal((await stat(join(bench.out, 'demo'))).mode & 0o777, 0o755)
  })

  test('goes on to its end when the daemon dies meanwhile, and leaves nothing behind', async () => {
    const gate = join(bench.dir, 'gate-2')
    execFileSync('mkfifo', [gate])
    await bench.write('src/lib.rs', `pub const GATE: &str = include_str!("${gate}");\n${source}`)
    const daemon = await bench.listen()
    const { ended } = bench.start(bench.lib())
    const { peer } = await daemon.greet()
    peer.send(runFrame(privateDir))
    // Opens when rustc has the file open for reading.
    const writer = await open(gate, 'w')
    peer.leave()
    await daemon.close().catch(() => undefined)
    await writer.close()
    assert.equal((await ended).code, 0)
    assert.deepEqual(Object.keys(await bench.files()), [
      `demo-${stem}.d`,
      `libdemo-${stem}.rlib`,
      `libdemo-${stem}.rmeta`,
    ])
    await assert.rejects(stat(privateDir), { code: 'ENOENT' })
  })

  test('dies by the signal that kills rustc', async () => {
    const gate = join(bench.dir, 'gate-3')
    execFileSync('mkfifo', [gate])
    await bench.write('src/lib.rs', `pub const GATE: &str = include_str!("${gate}");\n`)
    const daemon = await bench.listen()
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      const started = bench.start(bench.lib())
      const { peer } = await daemon.greet()
      peer.send(runFrame(join(privateDir, signal)))
      const writer = await open(gate, 'w')
      const child = await readFile(`/proc/${started.pid}/task/${started.pid}/children`, 'utf8')
      process.kill(Number(child.trim()), signal)
      assert.equal((await peer.expect('ran')).code, signal === 'SIGKILL' ? -9 : -15)
      await writer.close()
      assert.deepEqual(await started.ended.then((end) => [end.code, end.signal]), [null, signal])
      assert.deepEqual(Object.keys(await bench.files()), [])
    }
  })
})

test('a private directory on another file system gets copies', { skip: process.platform !== 'linux' }, async () => {
  await bench.write('src/lib.rs', source)
  const remapped = await bench.expected([...bench.lib(), ...bench.remaps()])
  const program = await bench.script(`echo once >> runs; exec '${rustc}' "$@"`)
  const dir = `/dev/shm/shoal-shim-test-${process.pid}`
  const daemon = await bench.listen()
  try {
    const { ended } = bench.start(bench.lib(), { program })
    const { peer } = await daemon.greet()
    await peer.run(dir)
    assert.equal((await ended).code, 0)
    assert.deepEqual(await bench.files(), remapped.files)
    assert.equal(await readFile(join(bench.workspace, 'runs'), 'utf8'), 'once\n')
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
