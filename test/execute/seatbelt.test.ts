import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { seatbeltOptions, seatbeltProfile } from '../../src/execute/seatbelt.ts'
import { seccompFilter } from '../../src/execute/seccomp.ts'
import { Lender, okResult } from './support.ts'

const dir = mkdtempSync(join(tmpdir(), 'shoal-seatbelt-'))
after(() => rmSync(dir, { recursive: true, force: true }))

/** A program in the place of `sandbox-exec`, told the same. */
function standIn(name: string, script: string): string {
  const path = join(dir, name)
  writeFileSync(path, `#!/bin/bash\n${script}\n`)
  chmodSync(path, 0o755)
  return path
}

/** Skips `-f FILE -D NAME=VALUE …`, and leaves the program and its arguments. */
const skipOptions = 'shift 2; while [ "$1" = -D ]; do shift 2; done'

/**
 * What seatbelt would do, done with what Linux has: nothing is there but what the parameters name, and where they say. It stands
 * for a profile that holds, so that all that does not come from Apple can be tried.
 */
function holding(): string {
  const filter = join(dir, 'filter')
  writeFileSync(filter, seccompFilter(process.arch === 'arm64' ? 'arm64' : 'x64'))
  return standIn(
    'holding',
    `mounts=() made=() cwd="$PWD"
shift 2
while [ "$1" = -D ]; do
  path="\${2#*=}"
  case "$2" in
    PROGRAM*|READ*) mounts+=(--ro-bind "$path" "$path") ;;
    WRITE*) made+=(--bind "$path" "$path") ;;
  esac
  shift 2
done
# Without /proc its loader does not know where it lies.
case "$1" in */bin/rustc) mounts+=(--setenv LD_LIBRARY_PATH "\${1%/bin/rustc}/lib") ;; esac
for path in /lib /lib64 /usr/lib; do [ -e "$path" ] && mounts+=(--ro-bind "$path" "$path"); done
exec bwrap --unshare-all --uid 1000 --gid 1000 --cap-drop ALL --die-with-parent --unsetenv _ --unsetenv SHLVL --unsetenv OLDPWD "\${mounts[@]}" "\${made[@]}" \\
  --chdir "$cwd" --remount-ro / --seccomp 9 -- "$@" 9<${filter}`,
  )
}

test('the profile names what is allowed, and nothing of it by anything but a parameter', () => {
  const init = {
    program: '/Users/ada/.rustup/toolchains/stable/bin/rustc',
    readOnly: ['/Users/ada/.rustup/toolchains/stable', '/Users/ada/Library/Caches/shoal/guests/1/shoal-1/workspace'],
    writable: ['/Users/ada/Library/Caches/shoal/guests/1/shoal-1/out'],
  }
  const { text, parameters } = seatbeltProfile(init)
  assert.equal(text, readFileSync(fileURLToPath(new URL('seatbelt.sb', import.meta.url)), 'utf8'))
  const values = new Map(parameters)
  assert.equal(values.size, parameters.length)
  const named = [...text.matchAll(/\((literal|subpath) \(param "(\w+)"\)\)/g)].map(([, filter, name = '']) => [
    filter,
    values.get(name),
  ])
  const above =
    '/ /Users /Users/ada /Users/ada/.rustup /Users/ada/.rustup/toolchains /Users/ada/.rustup/toolchains/stable'
  for (const path of above.split(' '))
    assert.ok(
      named.some(([, value]) => value === path),
      path,
    )
  for (const path of init.readOnly) assert.ok(named.some(([filter, value]) => filter === 'subpath' && value === path))
  assert.ok(!text.includes('/Users'))
  // Nothing tells what else runs here, and with which arguments.
  assert.doesNotMatch(text, /allow sysctl-read\)|procargs|hostname|prefix "kern/)
  const hostile = { ...init, writable: ['/tmp/x")) (allow default) (version 1'] }
  assert.doesNotMatch(seatbeltProfile(hostile).text, /allow default/)
  assert.deepEqual(seatbeltOptions({ text: '', parameters: [['A', 'b c=d']] }, '/p'), ['-f', '/p', '-D', 'A=b c=d'])
})

for (const [what, seatbelt, reason] of [
  ['it is not there', join(dir, 'absent'), /sandbox-exec is not there/],
  ['it lets everything through', standIn('open', `${skipOptions}; exec "$@"`), /does not hold: .*read-outside/],
  ['it refuses the profile', standIn('refusing', 'echo "unbound variable" >&2; exit 65'), /ended with 65: unbound/],
  ['it does not start the program', standIn('idle', 'exit 0'), /does not hold: canary ended with 0/],
] as const) {
  test(`a mac lends nothing when ${what}`, async (t) => {
    const lender = new Lender({ platform: 'darwin', seatbelt })
    t.after(() => lender.stop())
    await lender.start()
    assert.equal(lender.executor.tier, 'none', lender.executor.reason)
    assert.match(lender.executor.reason, reason)
    const unit = await lender.prepare({ crate: 'any', files: { 'src/lib.rs': '' } })
    await assert.rejects(lender.run(unit), { code: 'ERR_SANDBOX' })
  })
}

const lender = new Lender({ platform: 'darwin', seatbelt: holding() })
await lender.start()
after(() => lender.stop())
const skip = lender.executor.tier === 'none' ? `nothing here holds in its place: ${lender.executor.reason}` : false

describe('where the profile holds', { skip }, () => {
  test('a library comes out as rustc makes it here', async () => {
    const prepared = await lender.prepare({
      crate: 'plain',
      files: { 'src/lib.rs': 'pub fn at() -> &\'static str { include!(concat!(env!("OUT_DIR"), "/gen.rs")) }' },
      build: { 'gen.rs': 'file!()' },
    })
    const here = lender.here(prepared)
    assert.equal(here.status, 0, here.stderr)
    const result = okResult(await lender.run(prepared))
    assert.deepEqual(
      result.outputs.map(({ name }) => name),
      ['libplain-0123456789abcdef.rmeta', 'libplain-0123456789abcdef.rlib'],
    )
    for (const { name, cid } of result.outputs)
      assert.deepEqual(Buffer.from(await lender.bytes(cid)), Buffer.from(here.outputs.get(name) ?? []))
    assert.ok(result.depInfo.includes(' \0build\0/gen.rs'))
  })

  test('what lies elsewhere is not there, and a path of this machine makes the result nobody’s', async () => {
    const secret = join(dir, 'secret')
    writeFileSync(secret, 'canary')
    const reads = await lender.prepare({
      crate: 'reads',
      files: { 'src/lib.rs': `pub const S: &str = include_str!("${secret}");` },
    })
    const outcome = await lender.run(reads)
    assert.equal(outcome.kind, 'failed')
    for (const source of ['env!("CARGO_MANIFEST_DIR")', 'env!("OUT_DIR")']) {
      const bound = await lender.prepare({
        crate: 'bound',
        files: { 'src/lib.rs': `pub const S: &str = ${source};` },
        build: { 'gen.rs': '' },
      })
      await assert.rejects(lender.run(bound), { code: 'ERR_PATH_BOUND' })
    }
  })

  test('of the toolchain there is what a compile needs, and what the system has goes into no result', async () => {
    const reads = (file: string, emit?: string) =>
      lender.prepare({
        crate: 'reads',
        files: { 'src/lib.rs': `pub const S: &[u8] = include_bytes!("${file}");` },
        ...(emit !== undefined && { emit }),
      })
    const components = join(lender.toolchain.sysroot, 'lib/rustlib/components')
    assert.ok(existsSync(components))
    assert.equal((await lender.run(await reads(components))).kind, 'failed')
    // It is there to be read, as it would be on a mac.
    const system = readdirSync('/usr/lib', { withFileTypes: true }).find((entry) => entry.isFile())?.name ?? ''
    for (const emit of ['dep-info,metadata,link', 'dep-info,metadata']) {
      let told = 0
      const task = await reads(`/usr/lib/${system}`, emit)
      await assert.rejects(lender.run(task, { onRmeta: () => told++ }), {
        code: 'ERR_OUTPUT',
        message: /of this machine/,
      })
      assert.equal(told, 0)
    }
    await assert.rejects(lender.run(await reads(`/usr/lib/${system}`, 'metadata')), { code: 'ERR_ADMISSION' })
    const files = { 'src/lib.rs': 'pub const S: &str = include_str!("../README.md");', 'README.md': 'read me' }
    okResult(await lender.run(await lender.prepare({ crate: 'readme', files })))
  })

  test('what came with a task is not loaded, and nothing is linked', async () => {
    const macro = await lender.prepare({
      crate: 'uses',
      files: { 'src/lib.rs': '' },
      deps: { 'libmacro-0123456789abcdef.so': 'no library' },
    })
    await assert.rejects(lender.run(macro), { code: 'ERR_ADMISSION' })
    assert.equal(lender.executor.links, false)
  })

  test('what does not end is ended, and what takes too much', async () => {
    const endless = await lender.prepare({
      crate: 'endless',
      files: { 'src/lib.rs': 'pub const X: u64 = { let mut n = 0u64; loop { n = n.wrapping_add(1); } };' },
      argv: ['-A', 'long-running-const-eval'],
    })
    await assert.rejects(lender.run(endless, { limits: { wallMs: 1500 } }), { code: 'ERR_DEADLINE' })
    const small = await lender.prepare({ crate: 'small', files: { 'src/lib.rs': 'pub fn f() {}' } })
    await assert.rejects(lender.run(small, { limits: { stdioBytes: 1 } }), { code: 'ERR_LIMIT' })
    okResult(await lender.run(small))
  })
})
