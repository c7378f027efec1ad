import assert from 'node:assert/strict'
import { chmod, mkdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { cargoWrapper } from '../../src/cli/doctor/cargo-wrapper.ts'
import type { Finding } from '../../src/cli/doctor/finding.ts'
import { isolation } from '../../src/cli/doctor/isolation.ts'
import { discovery, membership } from '../../src/cli/doctor/membership.ts'
import { diskSpace } from '../../src/cli/doctor/places.ts'
import { readSystem, type SystemFacts } from '../../src/cli/doctor/system.ts'
import { fakeDaemon } from './fake-daemon.ts'
import { shoal, statusAnswer, temporaryHome } from './shoal.ts'

const os = {
  'Debian 12': 'ID=debian\nVERSION_ID="12"\n',
  'Ubuntu 24.04': 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n',
  'Ubuntu 25.04': 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="25.04"\n',
  Fedora: 'ID=fedora\nVERSION_ID=41\n',
  Arch: 'ID=arch\nID_LIKE=""\n',
}
const restricting = { 'proc/sys/kernel/apparmor_restrict_unprivileged_userns': '1\n' }
const failed = { tier: 'none', reason: 'bwrap: setting up uid map: Permission denied' }

/** What a person without root's rights has on a system whose files say this. */
async function system(t: TestContext, files: Record<string, string>, bubblewrap?: string): Promise<SystemFacts> {
  const { home: root } = await temporaryHome(t)
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
  }
  const bin = join(root, 'bin')
  await mkdir(bin)
  if (bubblewrap !== undefined) {
    await writeFile(join(bin, 'bwrap'), `#!/bin/sh\necho ${bubblewrap}\n`)
    await chmod(join(bin, 'bwrap'), 0o755)
  }
  return { ...(await readSystem({ PATH: bin }, { root, pid: 7, platform: 'linux' })), isRoot: false }
}

const of = (findings: readonly Finding[], check: string): Finding => {
  const found = findings.find((finding) => finding.check === check)
  assert.ok(found, check)
  return found
}

test('bubblewrap that is missing is installed as the distribution does it', async (t) => {
  const commands = {
    'Debian 12': 'sudo apt install bubblewrap',
    'Ubuntu 24.04': 'sudo apt install bubblewrap',
    Fedora: 'sudo dnf install bubblewrap',
    Arch: 'sudo pacman -S bubblewrap',
  } as const
  for (const [name, command] of Object.entries(commands)) {
    const facts = await system(t, { 'etc/os-release': os[name as keyof typeof commands] })
    const { level, mend } = of(isolation(facts, failed), 'bubblewrap')
    assert.deepEqual([name, level, mend], [name, 'warn', [command]])
  }
  const old = await system(t, { 'etc/os-release': os.Fedora }, 'bubblewrap 0.6.3')
  const { level, what } = of(isolation(old, failed), 'bubblewrap')
  assert.equal(level, 'warn')
  assert.match(what, /is 0\.6\.3, older than 0\.8$/)
  const recent = await system(t, {}, 'bubblewrap 0.11.0')
  assert.equal(of(isolation(recent, failed), 'bubblewrap').level, 'ok')
})

test('what AppArmor forbids is allowed to bubblewrap alone, never to everybody', async (t) => {
  const files = (name: keyof typeof os) => ({ 'etc/os-release': os[name], ...restricting })
  const older = await system(t, files('Ubuntu 24.04'), 'bubblewrap 0.9.0')
  assert.deepEqual(of(isolation(older, failed), 'user namespaces').mend, [
    'sudo apt install bubblewrap apparmor-profiles',
    'sudo cp /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/',
    'sudo apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict',
    'shoal down && shoal up',
  ])
  const newer = await system(t, files('Ubuntu 25.04'), 'bubblewrap 0.11.0')
  const { mend } = of(isolation(newer, failed), 'user namespaces')
  // A second copy of the profile would put both out of force.
  assert.ok(!mend.some((command) => command.includes('cp ')))
  const all = [...isolation(older, failed), ...isolation(newer, failed)].flatMap((finding) => finding.mend)
  assert.ok(!all.some((command) => /userns\S*\s*=\s*0/.test(command)), all.join('\n'))
  assert.equal(of(isolation({ ...older, isRoot: true }, failed), 'user namespaces').level, 'ok')
})

test('namespaces that are switched off are said to be, with what switches them on', async (t) => {
  const none = await system(t, { 'proc/sys/user/max_user_namespaces': '0\n' }, 'bubblewrap 0.8.0')
  assert.match(of(isolation(none, failed), 'user namespaces').mend[0] ?? '', /user\.max_user_namespaces = 15000/)
  const root = await system(t, { 'proc/sys/kernel/unprivileged_userns_clone': '0\n' }, 'bubblewrap 0.8.0')
  assert.match(of(isolation(root, failed), 'user namespaces').mend[0] ?? '', /unprivileged_userns_clone = 1/)
  const fine = await system(t, { 'proc/sys/user/max_user_namespaces': '9000\n' }, 'bubblewrap 0.8.0')
  const findings = isolation(fine, failed)
  assert.equal(of(findings, 'user namespaces').level, 'ok')
  assert.match(of(findings, 'sandbox').what, /cannot be used: bwrap: setting up uid map/)
})

test('on macOS it is the trial that tells, and nothing can be installed', async (t) => {
  const mac = { ...(await system(t, {})), platform: 'darwin' }
  const wrong = { tier: 'none', reason: 'the sandbox does not hold: read-outside' }
  const [finding, ...others] = isolation(mac, wrong)
  assert.deepEqual([finding?.level, finding?.mend, others], ['warn', [], []])
  assert.match(finding?.what ?? '', /does not hold: read-outside/)
  assert.match(finding?.why ?? '', /lends nothing/)
  assert.equal(isolation(mac, { tier: 'watched', reason: '' })[0]?.level, 'ok')
  const less = isolation(mac, { tier: 'watched', reason: '', owner: 'its owner is at the keyboard' })[0]
  assert.deepEqual(
    [less?.level, less?.what.endsWith('; lends less for now: its owner is at the keyboard')],
    ['ok', true],
  )
  assert.match(isolation({ ...mac, platform: 'win32' }, wrong)[0]?.what ?? '', /no sandbox for win32/)
})

test('control groups: which there are, whether the kernel keeps the limits, and what it costs if not', async (t) => {
  const second = await system(t, {
    'proc/7/cgroup': '0::/user.slice/app.scope\n',
    'sys/fs/cgroup/user.slice/app.scope/cgroup.controllers': 'cpu memory pids\n',
  })
  assert.deepEqual(second.groups, { version: 2, controllers: ['cpu', 'memory', 'pids'] })
  const first = await system(t, {
    'proc/7/cgroup': '5:pids:/\n4:memory:/\n0::/\n',
    'proc/self/mountinfo': '30 20 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n',
  })
  assert.equal(first.groups.version, 1)
  const none = await system(t, {})
  assert.equal(none.groups.version, undefined)
  const watched = { tier: 'watched', reason: 'limits are kept by watching' }
  const { level, why, mend } = of(isolation(second, watched), 'control groups')
  assert.deepEqual([level, mend.at(-1)], ['warn', 'systemd-run --user --scope -p Delegate=yes shoal up'])
  assert.match(why, /five times a second/)
  assert.equal(of(isolation(second, { tier: 'confined', reason: '' }), 'control groups').level, 'ok')
  assert.equal(of(isolation(none, watched), 'control groups').level, 'warn')
})

test('the wrapper that cargo obeys is found where cargo finds it', async (t) => {
  const { home } = await temporaryHome(t)
  const [cargoHome, above, cwd] = [join(home, 'cargo'), join(home, 'work/.cargo'), join(home, 'work/app')]
  for (const dir of [cargoHome, above, cwd]) await mkdir(dir, { recursive: true })
  const shim = '/state/bin/shoal-rustc'
  const places = { cwd, cargoHome, shim }
  const look = async (env: Record<string, string> = {}) => of(await cargoWrapper(env, places), 'cargo')
  assert.match((await look()).what, /plain cargo here does not/)
  await writeFile(join(cargoHome, 'config.toml'), `[build]\nrustc-wrapper = "${shim}"\n`)
  assert.deepEqual(
    [(await look()).level, (await look()).what],
    ['ok', `uses the mesh (${join(cargoHome, 'config.toml')})`],
  )
  await writeFile(join(above, 'config.toml'), '[build]\nrustc-wrapper = "sccache"\n')
  const other = await look()
  assert.deepEqual([other.level, other.mend], ['warn', ['eval "$(shoal env)"']])
  assert.match(other.what, /work\/\.cargo\/config\.toml names another wrapper: sccache/)
  assert.equal((await look({ RUSTC_WRAPPER: shim })).what, 'uses the mesh (RUSTC_WRAPPER)')
  assert.match((await look({ RUSTC_WRAPPER: '' })).what, /plain cargo here does not/)
  assert.equal(of(await cargoWrapper({ SHOAL: 'off' }, places), 'switch').level, 'warn')
})

test('membership: what runs out, who is alone, who was shut out', () => {
  const now = Date.UTC(2026, 0, 1)
  const mesh = { id: 'm', name: 'office', open: false, roles: ['member'], objection: null, admins: 2, members: 5 }
  const until = (days: number) => ({ ...mesh, validUntil: new Date(now + days * 86_400_000).toISOString() })
  assert.deepEqual(
    membership(until(20), now).map(({ level }) => level),
    ['ok', 'ok', 'ok'],
  )
  assert.match(of(membership(until(3), now), 'certificate').what, /runs out 2026-01-04, in 3 days/)
  const alone = { ...until(20), roles: ['member', 'admin'], admins: 1 }
  assert.deepEqual(of(membership(alone, now), 'administrators').mend, ['shoal promote NAME'])
  assert.match(String(of(membership({ ...alone, members: 1 }, now), 'administrators').mend), /^shoal invite/)
  const out = membership({ ...mesh, validUntil: null, objection: 'the key was revoked' }, now)
  assert.deepEqual(
    out.map(({ level }) => level),
    ['fail'],
  )
  const early = { objection: 'valid from 2026-01-03', objectionCode: 'ERR_NOT_YET_VALID' }
  const [slow] = membership({ ...mesh, validUntil: null, ...early }, now)
  assert.match(slow?.what ?? '', /certificate for office is valid from 2026-01-03/)
  assert.deepEqual([slow?.level, slow?.mend], ['fail', ['date']])
  const settings = { mdns: true, listen: ['0.0.0.0'], bootstrap: [] }
  assert.equal(discovery({}, settings).level, 'warn')
  const six = {
    address: 'fd00::1',
    netmask: 'ffff:ffff:ffff:ffff::',
    family: 'IPv6' as const,
    mac: '',
    internal: false,
  }
  const [local, own] = [
    { ...six, address: 'fe80::1', scopeid: 2, cidr: null },
    { ...six, scopeid: 0, cidr: 'fd00::1/64' },
  ]
  assert.equal(discovery({ eth0: [local] }, settings).what, 'no network with an address')
  assert.deepEqual(discovery({ eth0: [local, own] }, settings).mend, ['mesh.listen = ["::"]'])
  assert.equal(discovery({ eth0: [local, own] }, { ...settings, listen: ['::'] }).what, 'mDNS on eth0')
  assert.equal(discovery({}, { ...settings, mdns: false, bootstrap: ['/ip4/10.0.0.1/tcp/1'] }).level, 'ok')
})

test('directories that others can enter are closed by --fix, and what is nobody’s own is left alone', async (t) => {
  const { home, paths } = await temporaryHome(t)
  await mkdir(paths.state, { recursive: true, mode: 0o755 })
  await chmod(paths.state, 0o755)
  const elsewhere = join(home, 'elsewhere')
  await mkdir(elsewhere, { mode: 0o755 })
  await chmod(elsewhere, 0o755)
  await symlink(elsewhere, paths.cache)
  const checks = async (...args: string[]): Promise<Finding[]> =>
    (JSON.parse((await shoal(['doctor', '--json', ...args], { home })).stdout) as { checks: Finding[] }).checks
  const before = await checks()
  assert.deepEqual(of(before, 'state directory').mend, [`chmod 700 '${paths.state}'`])
  assert.equal(of(before, 'cache directory').level, 'fail')
  assert.match(of(before, 'socket directory').what, /is not there yet/)
  const after = await checks('--fix')
  assert.equal(of(after, 'state directory').level, 'ok')
  assert.equal(of(after, 'cache directory').level, 'fail')
  assert.equal((await stat(paths.run)).mode & 0o777, 0o700)
  assert.equal((await stat(elsewhere)).mode & 0o777, 0o755)
  assert.equal((await diskSpace(join(home, 'not/there'), Number.MAX_SAFE_INTEGER)).level, 'warn')
  assert.equal((await diskSpace(home, 0)).level, 'ok')
})

test('doctor ends with 1 for a failure, 4 for a warning, and shows what the node complains of', async (t) => {
  const { home, paths } = await temporaryHome(t)
  const mesh = { roles: ['member'], validUntil: '2999-01-01T00:00:00.000Z', objection: null, admins: 2, members: 2 }
  const env = { SHOAL_FAKE_MESH: JSON.stringify(mesh) }
  const without = await shoal(['doctor'], { home, env })
  assert.equal(without.code, 4, without.stdout)
  assert.match(without.stdout, /^warn {2}node: is not running; cargo runs as without Shoal\n {8}shoal up$/m)
  // Whoever is root hears once that this is no trouble.
  const asRoot = without.stdout.match(/^ok {4}user: root: it works.*$/gm) ?? []
  assert.equal(asRoot.length, process.getuid?.() === 0 ? 1 : 0)
  const trouble = { code: 'ERR_DISK_FULL', text: 'no \u001b[31mroom', hint: 'Make some.', count: 3, lastSeen: '' }
  const daemon = await fakeDaemon(paths.socket, {
    status: { ...statusAnswer, lending: { tier: 'none', reason: 'no bwrap', owner: '' }, health: [trouble] },
    peers: { peers: [] },
  })
  t.after(() => daemon.close())
  const ran = await shoal(['doctor'], { home, env })
  assert.equal(ran.code, 4, ran.stdout)
  assert.match(ran.stdout, /^warn {2}health: ERR_DISK_FULL: no .*room \(3 times\); Make some\.$/m)
  assert.ok(!ran.stdout.includes('\u001b'))
  await daemon.close()
  await rm(paths.socket, { force: true })
  const other = await shoal(['doctor', '--json'], { home, env: { SHOAL_FAKE_MESH: '{"objection":"revoked"}' } })
  assert.equal(other.code, 1)
  assert.equal((JSON.parse(other.stdout) as { result: string }).result, 'fail')
})
